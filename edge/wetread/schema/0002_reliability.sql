-- Priorities, evidence of completeness, corrected attributes, pauses, held and verified deliveries, refused senders.

ALTER TABLE studies ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;   -- of the called AE title; larger is sooner
ALTER TABLE studies ADD COLUMN last_instance_at TEXT NOT NULL DEFAULT '';
ALTER TABLE studies ADD COLUMN correction TEXT NOT NULL DEFAULT '';   -- JSON: attributes a person put right

-- What the instances themselves say (0020,1206 / 1208 / 1209); NULL when they say nothing.
ALTER TABLE studies ADD COLUMN announced_series INTEGER;
ALTER TABLE studies ADD COLUMN announced_instances INTEGER;
CREATE INDEX studies_receiving ON studies (id) WHERE state = 'receiving';  -- every round asks
CREATE INDEX revisions_unrouted ON revisions (id) WHERE routed_at IS NULL;  -- every round asks
ALTER TABLE series ADD COLUMN announced_instances INTEGER;

ALTER TABLE instances ADD COLUMN association_id TEXT NOT NULL DEFAULT '';
ALTER TABLE instances ADD COLUMN film TEXT NOT NULL DEFAULT '';       -- JSON: view, side, body part of a radiograph
ALTER TABLE instances ADD COLUMN removed_at TEXT;                     -- its file was removed by retention
ALTER TABLE results ADD COLUMN removed_at TEXT;
ALTER TABLE results ADD COLUMN rendition TEXT NOT NULL DEFAULT 'common' CHECK (rendition IN ('modern', 'common'));

-- What a study said of itself when the revision was made, corrections included: never changes afterwards.
ALTER TABLE revisions ADD COLUMN attributes TEXT NOT NULL DEFAULT '';
ALTER TABLE revisions ADD COLUMN evidence TEXT NOT NULL DEFAULT 'quiet'
    CHECK (evidence IN ('release', 'pacs-count', 'announced-count', 'quiet', 'person'));
UPDATE revisions SET attributes = (SELECT attributes FROM studies s WHERE s.id = study_id);

-- The claim takes the first job of each lane (route, bundle, priority) and of these the one due first, so nothing that
-- may not run is looked at one by one: jobs that back off or whose study is held are not in the lanes, and a pause
-- leaves out whole lanes. due: when the job was made, by a clock that never runs back; a higher priority is a head start.
ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;      -- of its study
ALTER TABLE jobs ADD COLUMN due TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN backs_off INTEGER NOT NULL DEFAULT 0;     -- waits until available_at
ALTER TABLE jobs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;          -- its study is held; kept by the triggers below
ALTER TABLE jobs ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;         -- after a worker died of it: with no other job
ALTER TABLE jobs ADD COLUMN cancel_asked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN options TEXT NOT NULL DEFAULT '{}';       -- JSON: what its route allows beyond the bundle's rules
ALTER TABLE jobs ADD COLUMN predicted_mb INTEGER;
ALTER TABLE jobs ADD COLUMN predicted_s REAL;
ALTER TABLE jobs ADD COLUMN superseded_by TEXT NOT NULL DEFAULT '';   -- id of the job that reads what came later
UPDATE jobs SET due = created_at, backs_off = state = 'waiting',
    held = (SELECT s.state = 'held' FROM studies s WHERE s.id = study_id);
DROP INDEX jobs_to_claim;
CREATE INDEX jobs_ready ON jobs (route, bundle, priority, due) WHERE state = 'waiting' AND backs_off = 0 AND held = 0;
CREATE INDEX jobs_backing_off ON jobs (available_at) WHERE state = 'waiting' AND backs_off = 1;
CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';
CREATE INDEX jobs_of_study ON jobs (study_id, state);
CREATE INDEX jobs_superseded ON jobs (superseded_by) WHERE superseded_by != '';
CREATE INDEX jobs_by_time ON jobs (created_at);
CREATE INDEX jobs_by_state ON jobs (state, created_at, route);

-- Whoever holds a study or raises its priority: its jobs know at once.
CREATE TRIGGER study_holds_jobs AFTER UPDATE OF state ON studies WHEN (NEW.state = 'held') != (OLD.state = 'held')
BEGIN
    UPDATE jobs SET held = (NEW.state = 'held') WHERE study_id = NEW.id;
END;
CREATE TRIGGER study_hurries_jobs AFTER UPDATE OF priority ON studies WHEN NEW.priority > OLD.priority
BEGIN
    UPDATE jobs SET priority = NEW.priority WHERE study_id = NEW.id AND priority < NEW.priority;
END;

-- What a shadow read says beside the live read of the same series; document is '' until both were looked at.
CREATE TABLE comparisons (
    shadow_job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    live_job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    document TEXT NOT NULL DEFAULT '',          -- JSON: for each structure Dice, volumes, scores
    compared_at TEXT,
    PRIMARY KEY (shadow_job_id, live_job_id)
) STRICT;
CREATE INDEX comparisons_to_make ON comparisons (shadow_job_id) WHERE compared_at IS NULL;

-- What a person stopped. Survives a restart; reception goes on.
CREATE TABLE pauses (
    kind TEXT NOT NULL CHECK (kind IN ('all', 'route', 'bundle')),
    name TEXT NOT NULL DEFAULT '',              -- of the route or bundle
    reason TEXT NOT NULL DEFAULT '',
    since TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT;

-- Who was refused, how often and why; hint names a peer that is nearly the same (case, blanks, another network).
CREATE TABLE refusals (
    calling TEXT NOT NULL,
    called TEXT NOT NULL,
    address TEXT NOT NULL,
    reason TEXT NOT NULL,
    hint TEXT NOT NULL DEFAULT '',
    count INTEGER NOT NULL DEFAULT 1,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    PRIMARY KEY (calling, called, address)
) STRICT;

-- Associations as the listeners saw them end: evidence that a sender has finished.
CREATE TABLE associations (
    id TEXT PRIMARY KEY,
    peer TEXT NOT NULL,
    ended TEXT NOT NULL CHECK (ended IN ('released', 'aborted', 'lost')),
    instances INTEGER NOT NULL,
    ended_at TEXT NOT NULL
) STRICT;

-- held: a person decides (patient differs, too old, paused); withdrawn: superseded before it was sent.
CREATE TABLE outbox_new (
    id INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sop_instance_uid TEXT NOT NULL REFERENCES results (sop_instance_uid) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'held', 'delivered', 'withdrawn')),
    attempts INTEGER NOT NULL DEFAULT 0,
    available_at TEXT NOT NULL,
    last_error TEXT NOT NULL DEFAULT '',
    refused INTEGER NOT NULL DEFAULT 0,         -- the peer does not take this object for what it is: others go on
    hold_reason TEXT NOT NULL DEFAULT '',
    confirmed TEXT NOT NULL DEFAULT '',         -- what a person confirmed: this reason does not hold it again
    asked_now INTEGER NOT NULL DEFAULT 0,       -- a person wants it tried without waiting, even where nobody answers
    warning TEXT NOT NULL DEFAULT '',           -- of a peer that took the object all the same
    delivered_at TEXT,
    verified TEXT NOT NULL DEFAULT '' CHECK (verified IN ('', 'commitment', 'query', 'status', 'digest')),
    verified_at TEXT,
    UNIQUE (sop_instance_uid, destination)
) STRICT;
INSERT INTO outbox_new (id, job_id, sop_instance_uid, destination, state, attempts, available_at, last_error, delivered_at,
                        verified)
    SELECT id, job_id, sop_instance_uid, destination, state, attempts, available_at, last_error, delivered_at,
        CASE state WHEN 'delivered' THEN 'status' ELSE '' END FROM outbox;
DROP VIEW study_status;
DROP TABLE outbox;
ALTER TABLE outbox_new RENAME TO outbox;
CREATE INDEX outbox_to_send ON outbox (destination, available_at) WHERE state = 'pending';
CREATE INDEX outbox_of_job ON outbox (job_id, state);
CREATE INDEX outbox_asked ON outbox (destination) WHERE asked_now = 1;
CREATE INDEX outbox_to_verify ON outbox (destination) WHERE state = 'delivered' AND verified = '';

CREATE VIEW delivered_reports AS
SELECT o.job_id, r.sop_class_uid, r.sop_instance_uid, r.series_instance_uid
FROM outbox o JOIN results r ON r.sop_instance_uid = o.sop_instance_uid
WHERE r.kind = 'SR' AND o.state = 'delivered';

-- ignored, notified: late instances changed what the bundle would read, and the route reads it only once.
CREATE TABLE decisions_new (
    revision_id INTEGER NOT NULL REFERENCES revisions (id) ON DELETE CASCADE,
    route TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('read', 'unchanged', 'passed', 'rejected', 'ignored', 'notified')),
    reason TEXT NOT NULL,
    verdicts TEXT NOT NULL,                     -- JSON: one sentence for each series
    PRIMARY KEY (revision_id, route)
) STRICT;
INSERT INTO decisions_new SELECT * FROM decisions;
DROP TABLE decisions;
ALTER TABLE decisions_new RENAME TO decisions;

-- Sent again with other pixel bytes in another encoding: the study waits until the pictures were compared.
CREATE TABLE recompressed (
    path TEXT PRIMARY KEY,                      -- relative to the spool
    instance_id INTEGER NOT NULL REFERENCES instances (id) ON DELETE CASCADE,
    study_id INTEGER NOT NULL REFERENCES studies (id) ON DELETE CASCADE,
    peer TEXT NOT NULL,
    found_at TEXT NOT NULL
) STRICT;
CREATE INDEX recompressed_of_study ON recompressed (study_id);

-- Which rendition a destination gets; '' until its peer was asked, before the first object.
CREATE TABLE destination_renditions (
    destination TEXT PRIMARY KEY,
    rendition TEXT NOT NULL DEFAULT '' CHECK (rendition IN ('', 'modern', 'common')),
    decided_by TEXT NOT NULL DEFAULT '' CHECK (decided_by IN ('', 'setting', 'negotiated')),
    decided_at TEXT
) STRICT;

-- What peers asked us to commit to: answered with the word of their archive. A report has no deadline.
CREATE TABLE vouchers (
    id INTEGER PRIMARY KEY,
    peer TEXT NOT NULL,
    transaction_uid TEXT NOT NULL,              -- the peer's
    instances TEXT NOT NULL,                    -- JSON: SOP class and SOP instance of each
    state TEXT NOT NULL CHECK (state IN ('to ask', 'asked', 'to report', 'done', 'given up')),
    archive_transaction_uid TEXT NOT NULL DEFAULT '',
    answer TEXT NOT NULL DEFAULT '',            -- JSON: committed, failed with reasons; '' until it is known
    problem TEXT NOT NULL DEFAULT '',           -- why it waits
    attempts INTEGER NOT NULL DEFAULT 0,
    asked_at TEXT NOT NULL,
    available_at TEXT NOT NULL
) STRICT;
CREATE INDEX vouchers_due ON vouchers (available_at) WHERE state IN ('to ask', 'asked', 'to report');
CREATE INDEX vouchers_asked ON vouchers (archive_transaction_uid) WHERE state = 'asked';

-- Storage commitment: one transaction for each request, whose report may come on another association.
CREATE TABLE commitments (
    transaction_uid TEXT PRIMARY KEY,
    destination TEXT NOT NULL,
    outbox_ids TEXT NOT NULL,                   -- JSON list
    asked_at TEXT NOT NULL,
    answered_at TEXT,
    failed TEXT NOT NULL DEFAULT '{}'           -- JSON: SOP Instance UID to failure reason
) STRICT;

-- Every study is in exactly one visible state.
CREATE VIEW study_status AS
SELECT s.id, s.study_instance_uid, s.attributes, s.correction, s.created_at, s.updated_at,
    (SELECT count(*) FROM instances i WHERE i.study_id = s.id AND i.role = 'source') AS instances,
    (SELECT max(number) FROM revisions r WHERE r.study_id = s.id) AS revision,
    CASE
        WHEN s.state != 'complete' THEN s.state
        WHEN EXISTS (SELECT 1 FROM revisions r WHERE r.study_id = s.id AND r.routed_at IS NULL) THEN 'complete'
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state = 'running') THEN 'reading'
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state = 'waiting') THEN 'waiting'
        WHEN EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state = 'failed') THEN 'failed'
        WHEN EXISTS (SELECT 1 FROM outbox o JOIN jobs j ON j.id = o.job_id
                     WHERE j.study_id = s.id AND o.state = 'held') THEN 'result held'
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
        (SELECT 'paused' || coalesce(': ' || nullif(p.reason, ''), '') FROM jobs j JOIN pauses p
             ON p.kind = 'all' OR (p.kind = 'route' AND p.name = j.route) OR (p.kind = 'bundle' AND p.name = j.bundle)
         WHERE j.study_id = s.id AND (j.state = 'waiting'
             OR EXISTS (SELECT 1 FROM outbox o WHERE o.job_id = j.id AND o.state = 'pending')) LIMIT 1),
        (SELECT nullif(j.reason, '') FROM jobs j WHERE j.study_id = s.id AND j.superseded_by = ''
         ORDER BY j.state IN ('failed', 'rejected', 'cancelled') DESC, j.created_at DESC LIMIT 1),
        (SELECT nullif(o.hold_reason, '') FROM outbox o JOIN jobs j ON j.id = o.job_id
         WHERE j.study_id = s.id AND o.state = 'held' LIMIT 1),
        (SELECT nullif(o.last_error, '') FROM outbox o JOIN jobs j ON j.id = o.job_id
         WHERE j.study_id = s.id AND o.state = 'pending' LIMIT 1),
        (SELECT d.reason FROM decisions d JOIN revisions r ON r.id = d.revision_id
         WHERE r.study_id = s.id AND d.outcome IN ('rejected', 'passed', 'notified')
         ORDER BY r.number DESC, d.outcome = 'rejected' DESC, d.outcome = 'notified' DESC LIMIT 1),
        '') AS reason
FROM studies s;
