-- Signed reads that were exported to learn from. Patients and studies are keyed pseudonyms, so that the register
-- outlives the study and still says nothing of whom.

CREATE TABLE learning_key (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    key BLOB NOT NULL                           -- 32 random bytes: the same patient is the same pseudonym in every export
) STRICT;

CREATE TABLE learning_exports (
    id TEXT PRIMARY KEY,                        -- UUID; in export.json, and in the metrics of what was trained with it
    bundle TEXT NOT NULL,
    folder TEXT NOT NULL,
    made_at TEXT NOT NULL,
    made_by TEXT NOT NULL
) STRICT;

CREATE TABLE learning_cases (
    export_id TEXT NOT NULL REFERENCES learning_exports (id) ON DELETE CASCADE,
    name TEXT NOT NULL,                         -- of its files
    patient TEXT NOT NULL,                      -- pseudonym
    study TEXT NOT NULL,                        -- pseudonym
    removed_at TEXT NOT NULL DEFAULT '',        -- its files were deleted after a withdrawal
    PRIMARY KEY (export_id, name)
) STRICT;
CREATE INDEX learning_cases_of_patient ON learning_cases (patient);
CREATE INDEX learning_cases_of_study ON learning_cases (study);

-- Never exported again.
CREATE TABLE learning_withdrawals (
    pseudonym TEXT PRIMARY KEY,                 -- of a patient or a study
    kind TEXT NOT NULL CHECK (kind IN ('patient', 'study')),
    withdrawn_at TEXT NOT NULL,
    withdrawn_by TEXT NOT NULL
) STRICT;
