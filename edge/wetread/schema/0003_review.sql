-- Reviews of reads: every decision, who holds a review, sign-offs; what a read keeps beside its DICOM objects.

-- When results may leave: at once (marked as not reviewed), or after a person signed.
ALTER TABLE jobs ADD COLUMN send TEXT NOT NULL DEFAULT 'at once' CHECK (send IN ('at once', 'after signing'));
ALTER TABLE jobs ADD COLUMN asked_by TEXT NOT NULL DEFAULT '';        -- the person who asked for it; '' for a route
ALTER TABLE jobs ADD COLUMN superseded_at TEXT NOT NULL DEFAULT '';   -- a later revision wants another read, or none
UPDATE jobs SET superseded_at = coalesce(finished_at, created_at) WHERE superseded_by != '';

ALTER TABLE results ADD COLUMN sign_off_id TEXT NOT NULL DEFAULT '';  -- of a report that a person signed
CREATE INDEX results_of_job ON results (job_id, position);

-- A preliminary report names the preliminary one that it takes the place of; what a person signed it does not replace.
DROP VIEW delivered_reports;
CREATE VIEW delivered_reports AS
SELECT o.job_id, r.sop_class_uid, r.sop_instance_uid, r.series_instance_uid
FROM outbox o JOIN results r ON r.sop_instance_uid = o.sop_instance_uid
WHERE r.kind = 'SR' AND r.sign_off_id = '' AND o.state = 'delivered';

-- The image a read was about, computed once: shape, affine, SOP Instance UID of each slice.
CREATE TABLE read_inputs (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    document TEXT NOT NULL                      -- JSON
) STRICT;

-- What a read leaves for viewers beside its DICOM objects, committed with them.
CREATE TABLE result_files (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('labels', 'heatmap')),
    name TEXT NOT NULL,                         -- tracking UID of the finding; '' for the label map
    path TEXT NOT NULL UNIQUE,                  -- relative to the data folder
    sha256 TEXT NOT NULL,
    PRIMARY KEY (job_id, kind, name)
) STRICT;

-- What readers decided, in the order in which it was taken: never changed, never deleted but with the study.
CREATE TABLE review_decisions (
    id TEXT PRIMARY KEY,                        -- UUID made by the client
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,                    -- from 1: the version of the review after it
    tracking_uid TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('accept', 'reject', 'reset', 'comment')),
    comment TEXT,                               -- NULL leaves the one before
    reader TEXT NOT NULL,                       -- PN
    at TEXT NOT NULL,                           -- by the client's clock
    recorded_at TEXT NOT NULL,
    UNIQUE (job_id, number)
) STRICT;

-- One reader at a time decides.
CREATE TABLE review_holders (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    reader TEXT NOT NULL,
    since TEXT NOT NULL
) STRICT;

CREATE TABLE sign_offs (
    id TEXT PRIMARY KEY,                        -- UUID; the UIDs of the signed reports derive from it
    job_id TEXT NOT NULL UNIQUE REFERENCES jobs (id) ON DELETE CASCADE,
    version INTEGER NOT NULL,                   -- of the review that was signed
    reader TEXT NOT NULL,                       -- PN
    organization TEXT NOT NULL,
    reader_id TEXT NOT NULL DEFAULT '',
    signed_at TEXT NOT NULL,
    superseded_at TEXT NOT NULL DEFAULT ''      -- the study changed afterwards in what had been read
) STRICT;
