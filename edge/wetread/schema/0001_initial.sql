-- Times are ISO 8601 UTC with milliseconds. Every transition is also a row in events.

CREATE TABLE studies (
    id INTEGER PRIMARY KEY,
    study_instance_uid TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL UNIQUE,                -- in the spool; our name, never the peer's
    attributes TEXT NOT NULL,                   -- JSON: patient and study attributes of the first source instance
    state TEXT NOT NULL CHECK (state IN ('receiving', 'complete', 'held')),
    reason TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE series (
    study_id INTEGER NOT NULL REFERENCES studies (id) ON DELETE CASCADE,
    series_instance_uid TEXT NOT NULL,
    attributes TEXT NOT NULL,                   -- JSON: what rules look at, from the series' first instance
    PRIMARY KEY (study_id, series_instance_uid)
) STRICT;

CREATE TABLE instances (
    id INTEGER PRIMARY KEY,
    study_id INTEGER NOT NULL REFERENCES studies (id) ON DELETE CASCADE,
    series_instance_uid TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    sop_class_uid TEXT NOT NULL,
    instance_number INTEGER,
    role TEXT NOT NULL CHECK (role IN ('source', 'derived', 'own')),
    content_digest TEXT NOT NULL,
    pixel_digest TEXT NOT NULL,
    path TEXT NOT NULL UNIQUE,                  -- relative to the spool
    peer TEXT NOT NULL,
    received_at TEXT NOT NULL,
    UNIQUE (study_id, sop_instance_uid)
) STRICT;

-- Acknowledged, and then found to be unreadable: kept and shown, never dropped.
CREATE TABLE unreadable (
    path TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    found_at TEXT NOT NULL
) STRICT;

CREATE TABLE revisions (
    id INTEGER PRIMARY KEY,
    study_id INTEGER NOT NULL REFERENCES studies (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    digest TEXT NOT NULL,                       -- over the content digests of its source instances
    reason TEXT NOT NULL,                       -- why the study counted as complete
    created_at TEXT NOT NULL,
    routed_at TEXT,                             -- set with the jobs and decisions it led to, in one transaction
    UNIQUE (study_id, number)
) STRICT;

CREATE TABLE revision_instances (
    revision_id INTEGER NOT NULL REFERENCES revisions (id) ON DELETE CASCADE,
    instance_id INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    PRIMARY KEY (revision_id, instance_id)
) STRICT;

-- What every route said about every revision, with the reason for each series.
CREATE TABLE decisions (
    revision_id INTEGER NOT NULL REFERENCES revisions (id) ON DELETE CASCADE,
    route TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('read', 'unchanged', 'passed', 'rejected')),
    reason TEXT NOT NULL,
    verdicts TEXT NOT NULL,                     -- JSON: one sentence for each series
    PRIMARY KEY (revision_id, route)
) STRICT;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    study_id INTEGER NOT NULL REFERENCES studies (id) ON DELETE CASCADE,
    revision_id INTEGER NOT NULL REFERENCES revisions (id) ON DELETE CASCADE,
    route TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('shadow', 'live')),
    destinations TEXT NOT NULL,                 -- JSON list, as the route named them when the job was made
    bundle TEXT NOT NULL,
    bundle_version TEXT NOT NULL,
    bundle_digest TEXT NOT NULL,
    bundle_folder TEXT NOT NULL,
    chosen TEXT NOT NULL,                       -- JSON: input name, series, reason
    input_digest TEXT NOT NULL,                 -- over the instances the bundle chose
    config_digest TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'rejected', 'failed', 'cancelled')),
    attempts INTEGER NOT NULL DEFAULT 0,
    available_at TEXT NOT NULL,
    owner TEXT,                                 -- boot id and process start time of the coordinator that claimed it
    heartbeat_at TEXT,
    progress TEXT NOT NULL DEFAULT '',
    code TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    report TEXT NOT NULL DEFAULT '{}',          -- JSON: findings, timings, peak memory, engine
    created_at TEXT NOT NULL,
    finished_at TEXT,
    UNIQUE (study_id, route, bundle_digest, input_digest)
) STRICT;
CREATE INDEX jobs_to_claim ON jobs (state, available_at);

CREATE TABLE attempts (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job_id, number)
) STRICT;

CREATE TABLE results (
    sop_instance_uid TEXT PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,                  -- sending order: what is referenced goes first
    kind TEXT NOT NULL,
    sop_class_uid TEXT NOT NULL,
    series_instance_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    path TEXT NOT NULL UNIQUE,                  -- relative to the data folder
    sha256 TEXT NOT NULL
) STRICT;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sop_instance_uid TEXT NOT NULL REFERENCES results (sop_instance_uid) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'withdrawn')),  -- withdrawn: superseded first
    attempts INTEGER NOT NULL DEFAULT 0,
    available_at TEXT NOT NULL,
    last_error TEXT NOT NULL DEFAULT '',
    delivered_at TEXT,
    UNIQUE (sop_instance_uid, destination)
) STRICT;
CREATE INDEX outbox_to_send ON outbox (destination, state, available_at);

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    study_id INTEGER REFERENCES studies (id) ON DELETE CASCADE,
    job_id TEXT,
    action TEXT NOT NULL,                       -- one word
    detail TEXT NOT NULL DEFAULT ''             -- a sentence without patient data
) STRICT;
CREATE INDEX events_of_study ON events (study_id, id);

-- Every study is in exactly one visible state.
CREATE VIEW study_status AS
SELECT s.id, s.study_instance_uid, s.attributes, s.created_at, s.updated_at,
    (SELECT count(*) FROM instances i WHERE i.study_id = s.id AND i.role = 'source') AS instances,
    (SELECT max(number) FROM revisions r WHERE r.study_id = s.id) AS revision,
    CASE
        WHEN s.state != 'complete' THEN s.state
        WHEN EXISTS (SELECT 1 FROM revisions r WHERE r.study_id = s.id AND r.routed_at IS NULL) THEN 'complete'
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state = 'running') THEN 'reading'
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state = 'waiting') THEN 'waiting'
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state = 'failed') THEN 'failed'
        WHEN EXISTS (SELECT 1 FROM outbox o JOIN jobs j ON j.id = o.job_id
                     WHERE j.study_id = s.id AND o.state = 'pending') THEN 'delivering'
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state = 'done') THEN 'read'
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state = 'rejected')
          OR EXISTS (SELECT 1 FROM decisions d JOIN revisions r ON r.id = d.revision_id
                     WHERE r.study_id = s.id AND d.outcome = 'rejected') THEN 'rejected'
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state = 'cancelled') THEN 'cancelled'
        ELSE 'not read'
    END AS state,
    coalesce(
        nullif(s.reason, ''),
        (SELECT nullif(j.reason, '') FROM jobs j WHERE j.study_id = s.id
         ORDER BY j.state IN ('failed', 'rejected', 'cancelled') DESC, j.created_at DESC LIMIT 1),
        (SELECT nullif(o.last_error, '') FROM outbox o JOIN jobs j ON j.id = o.job_id
         WHERE j.study_id = s.id AND o.state = 'pending' LIMIT 1),
        (SELECT d.reason FROM decisions d JOIN revisions r ON r.id = d.revision_id
         WHERE r.study_id = s.id AND d.outcome IN ('rejected', 'passed') ORDER BY r.number DESC LIMIT 1),
        '') AS reason
FROM studies s;
