-- name: enqueue
INSERT INTO jobs (id, study_id, revision_id, route, mode, destinations, bundle, bundle_version, bundle_digest,
                  bundle_folder, chosen, input_digest, config_digest, state, available_at, created_at)
VALUES (:id, :study_id, :revision_id, :route, :mode, :destinations, :bundle, :bundle_version, :bundle_digest,
        :bundle_folder, :chosen, :input_digest, :config_digest, 'waiting', :now, :now)
ON CONFLICT (study_id, route, bundle_digest, input_digest) DO NOTHING

-- name: same_read
SELECT id FROM jobs WHERE study_id = :study_id AND route = :route AND bundle_digest = :bundle_digest
    AND input_digest = :input_digest

-- name: add_decision
INSERT OR REPLACE INTO decisions (revision_id, route, outcome, reason, verdicts)
VALUES (:revision_id, :route, :outcome, :reason, :verdicts)

-- name: set_routed
UPDATE revisions SET routed_at = :now WHERE id = :revision_id

-- name: claim
UPDATE jobs SET state = 'running', owner = :owner, heartbeat_at = :now, attempts = attempts + 1, progress = '',
    code = '', reason = ''
WHERE id = (
    SELECT j.id FROM jobs j JOIN studies s ON s.id = j.study_id
    WHERE j.state = 'waiting' AND j.available_at <= :now AND s.state != 'held'
    ORDER BY j.available_at, j.created_at LIMIT 1)
RETURNING *

-- name: start_attempt
INSERT INTO attempts (job_id, number, started_at) VALUES (:job_id, :number, :now)

-- name: end_attempt
UPDATE attempts SET ended_at = :now, outcome = :outcome, reason = :reason WHERE job_id = :job_id AND ended_at IS NULL

-- name: heartbeat
UPDATE jobs SET heartbeat_at = :now, progress = :progress WHERE id = :job_id AND state = 'running'

-- name: finish
UPDATE jobs SET state = :state, code = :code, reason = :reason, report = :report, finished_at = :now, owner = NULL
WHERE id = :job_id AND state = 'running'

-- name: wait_again
UPDATE jobs SET state = 'waiting', code = :code, reason = :reason, available_at = :available_at, owner = NULL
WHERE id = :job_id AND state = 'running'

-- name: orphans
SELECT id, study_id, attempts FROM jobs WHERE state = 'running'

-- name: add_result
INSERT INTO results (sop_instance_uid, job_id, position, kind, sop_class_uid, series_instance_uid,
                     transfer_syntax_uid, path, sha256)
VALUES (:sop_instance_uid, :job_id, :position, :kind, :sop_class_uid, :series_instance_uid,
        :transfer_syntax_uid, :path, :sha256)
-- Two routes can ask one bundle about one input: the read that was committed first stands for both.
ON CONFLICT (sop_instance_uid) DO NOTHING

-- name: put_in_outbox
INSERT INTO outbox (job_id, sop_instance_uid, destination, state, available_at)
VALUES (:job_id, :sop_instance_uid, :destination, 'pending', :now)
ON CONFLICT DO NOTHING

-- name: withdraw_superseded
UPDATE outbox SET state = 'withdrawn' WHERE state = 'pending' AND job_id IN (
    SELECT id FROM jobs WHERE study_id = :study_id AND route = :route AND bundle = :bundle
        AND revision_id < :revision_id)

-- name: put_back
UPDATE jobs SET state = 'waiting', attempts = attempts - 1, available_at = :now, owner = NULL, progress = ''
WHERE state = 'running'
RETURNING id, study_id

-- name: job
SELECT * FROM jobs WHERE id = :job_id

-- name: retry
UPDATE jobs SET state = 'waiting', attempts = 0, available_at = :now, code = '', reason = '', finished_at = NULL
WHERE id = :job_id AND state IN ('failed', 'rejected', 'cancelled')

-- name: cancel
UPDATE jobs SET state = 'cancelled', reason = 'cancelled by a person', finished_at = :now
WHERE id = :job_id AND state = 'waiting'
