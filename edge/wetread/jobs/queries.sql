-- name: latest_due
SELECT max(due) AS due FROM jobs WHERE state IN ('waiting', 'running')

-- name: enqueue
INSERT INTO jobs (id, study_id, revision_id, route, mode, destinations, bundle, bundle_version, bundle_digest,
                  bundle_folder, chosen, options, input_digest, config_digest, state, available_at, created_at, due, priority,
                  held, send, asked_by)
SELECT :id, s.id, :revision_id, :route, :mode, :destinations, :bundle, :bundle_version, :bundle_digest,
       :bundle_folder, :chosen, :options, :input_digest, :config_digest, 'waiting', :now, :now, :due,
       max(s.priority, :priority), s.state = 'held', :send, :asked_by
FROM studies s WHERE s.id = :study_id
ON CONFLICT (study_id, route, bundle_digest, input_digest) DO NOTHING

-- name: add_decision
INSERT OR REPLACE INTO decisions (revision_id, route, outcome, reason, verdicts)
VALUES (:revision_id, :route, :outcome, :reason, :verdicts)

-- name: set_routed
UPDATE revisions SET routed_at = :now WHERE id = :revision_id

-- name: free_outdated
-- They waited for this revision (store: hold_outdated); what it replaces was cancelled before.
UPDATE jobs SET held = 0 WHERE study_id = :study_id AND held = 1
    AND EXISTS (SELECT 1 FROM studies s WHERE s.id = :study_id AND s.state != 'held')

-- name: overslept
-- A few at a time: after a jump of the clock it may be all of them.
SELECT * FROM (SELECT rowid AS row FROM jobs INDEXED BY jobs_backing_off
    WHERE state = 'waiting' AND backs_off = 1 AND available_at <= :now LIMIT 500)
UNION ALL
SELECT * FROM (SELECT rowid AS row FROM jobs INDEXED BY jobs_backing_off
    WHERE state = 'waiting' AND backs_off = 1 AND available_at > :latest LIMIT 500)

-- name: wake
UPDATE jobs SET backs_off = 0 WHERE rowid = :row AND state = 'waiting' AND backs_off = 1

-- name: next_job
-- heads: the first job of each lane; from one lane to the next is an index step in priority, bundle or route. SQLite has
-- no lateral join, so the rowid carries the row, and of a comparison of rows it would use the first column only. The index
-- is named because the planner, without statistics, would sort everything that waits.
WITH RECURSIVE heads (id, route, bundle, priority, due, alone) AS (
    SELECT id, route, bundle, priority, due, alone FROM (
        SELECT * FROM jobs INDEXED BY jobs_ready WHERE state = 'waiting' AND backs_off = 0 AND held = 0
        ORDER BY route, bundle, priority, due LIMIT 1)
    UNION ALL
    SELECT j.id, j.route, j.bundle, j.priority, j.due, j.alone FROM heads h JOIN jobs j ON j.rowid = coalesce(
        (SELECT n.rowid FROM jobs n INDEXED BY jobs_ready WHERE n.state = 'waiting' AND n.backs_off = 0 AND n.held = 0
            AND n.route = h.route AND n.bundle = h.bundle AND n.priority > h.priority
            ORDER BY n.priority, n.due LIMIT 1),
        (SELECT n.rowid FROM jobs n INDEXED BY jobs_ready WHERE n.state = 'waiting' AND n.backs_off = 0 AND n.held = 0
            AND n.route = h.route AND n.bundle > h.bundle
            ORDER BY n.bundle, n.priority, n.due LIMIT 1),
        (SELECT n.rowid FROM jobs n INDEXED BY jobs_ready WHERE n.state = 'waiting' AND n.backs_off = 0 AND n.held = 0
            AND n.route > h.route
            ORDER BY n.route, n.bundle, n.priority, n.due LIMIT 1))
)
SELECT h.id, h.alone FROM heads h
WHERE NOT EXISTS (SELECT 1 FROM pauses p WHERE p.kind = 'all' OR (p.kind = 'route' AND p.name = h.route)
    OR (p.kind = 'bundle' AND p.name = h.bundle))
ORDER BY julianday(h.due) - h.priority * :head_start_days, h.id LIMIT 1

-- name: running
SELECT count(*) AS n, coalesce(max(alone), 0) AS alone FROM jobs INDEXED BY jobs_running WHERE state = 'running'

-- name: claim
UPDATE jobs SET state = 'running', owner = :owner, heartbeat_at = :now, attempts = attempts + 1, progress = '',
    code = '', reason = ''
WHERE id = :job_id AND state = 'waiting'
RETURNING *

-- name: next_attempt
SELECT coalesce(max(number), 0) + 1 AS n FROM attempts WHERE job_id = :job_id

-- name: start_attempt
INSERT INTO attempts (job_id, number, started_at) VALUES (:job_id, :number, :now)

-- name: end_attempt
UPDATE attempts SET ended_at = :now, outcome = :outcome, reason = :reason WHERE job_id = :job_id AND ended_at IS NULL

-- name: heartbeat
UPDATE jobs SET heartbeat_at = :now, progress = :progress WHERE id = :job_id AND state = 'running'

-- name: set_prediction
UPDATE jobs SET predicted_mb = :predicted_mb, predicted_s = :predicted_s WHERE id = :job_id AND state = 'running'

-- name: finish
UPDATE jobs SET state = :state, code = :code, reason = :reason, report = :report, finished_at = :now, owner = NULL,
    cancel_asked = 0
WHERE id = :job_id AND state = 'running'

-- name: wait_again
UPDATE jobs SET state = 'waiting', code = :code, reason = :reason, available_at = :available_at, backs_off = :backs_off,
    alone = max(alone, :alone), attempts = attempts - :excused, owner = NULL
WHERE id = :job_id AND state = 'running'

-- name: orphans
SELECT * FROM jobs WHERE state = 'running'

-- name: put_back
UPDATE jobs SET state = 'waiting', attempts = attempts - 1, available_at = :now, backs_off = 0, owner = NULL,
    progress = ''
WHERE id = :job_id AND state = 'running'

-- name: to_cancel
SELECT id FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND cancel_asked = 1

-- name: add_result
INSERT INTO results (sop_instance_uid, job_id, position, kind, sop_class_uid, series_instance_uid,
                     transfer_syntax_uid, path, sha256, rendition)
VALUES (:sop_instance_uid, :job_id, :position, :kind, :sop_class_uid, :series_instance_uid,
        :transfer_syntax_uid, :path, :sha256, :rendition)
-- Two routes can ask one bundle about one input: the read that was committed first stands for both.
ON CONFLICT (sop_instance_uid) DO NOTHING

-- name: results_of_job_in_order
-- Where two routes asked for one read, the results belong to the first of its jobs.
SELECT * FROM results WHERE removed_at IS NULL AND sign_off_id = '' AND job_id = coalesce(
    (SELECT r.job_id FROM results r WHERE r.job_id = :job_id LIMIT 1),
    (SELECT o.id FROM jobs o JOIN jobs j ON j.id = :job_id AND o.study_id = j.study_id AND o.id != j.id
        AND o.bundle_digest = j.bundle_digest AND o.input_digest = j.input_digest AND o.state = 'done'
     ORDER BY o.finished_at LIMIT 1))
ORDER BY position

-- name: signed_results
SELECT * FROM results WHERE removed_at IS NULL AND sign_off_id != '' AND job_id = :job_id ORDER BY position

-- name: add_signed_result
INSERT INTO results (sop_instance_uid, job_id, position, kind, sop_class_uid, series_instance_uid,
                     transfer_syntax_uid, path, sha256, rendition, sign_off_id)
VALUES (:sop_instance_uid, :job_id, :position, :kind, :sop_class_uid, :series_instance_uid,
        :transfer_syntax_uid, :path, :sha256, :rendition, :sign_off_id)

-- name: keep_input
INSERT OR REPLACE INTO read_inputs (job_id, document) VALUES (:job_id, :document)

-- name: keep_file
INSERT OR REPLACE INTO result_files (job_id, kind, name, path, sha256) VALUES (:job_id, :kind, :name, :path, :sha256)

-- name: renditions
SELECT destination, rendition FROM destination_renditions

-- name: put_in_outbox
INSERT INTO outbox (job_id, sop_instance_uid, destination, state, available_at)
VALUES (:job_id, :sop_instance_uid, :destination, 'pending', :now)
-- Withdrawn because something newer had come, and now said again: a correction was taken back. What a person recalled
-- waits for a person.
ON CONFLICT (sop_instance_uid, destination) DO UPDATE SET
    state = CASE WHEN outbox.hold_reason LIKE 'recalled %' THEN 'held' ELSE 'pending' END, job_id = excluded.job_id,
    hold_reason = CASE WHEN outbox.hold_reason LIKE 'recalled %' THEN outbox.hold_reason ELSE '' END,
    available_at = excluded.available_at WHERE outbox.state = 'withdrawn'

-- name: reads_in_other_mode
SELECT id, route, bundle_digest, chosen FROM jobs
WHERE study_id = :study_id AND state = 'done' AND mode != :mode ORDER BY revision_id, created_at

-- name: compare_later
INSERT INTO comparisons (shadow_job_id, live_job_id) VALUES (:shadow_job_id, :live_job_id) ON CONFLICT DO NOTHING

-- name: comparison_to_make
SELECT shadow_job_id, live_job_id FROM comparisons WHERE compared_at IS NULL ORDER BY shadow_job_id LIMIT 1

-- name: compared
UPDATE comparisons SET document = :document, compared_at = :now
WHERE shadow_job_id = :shadow_job_id AND live_job_id = :live_job_id AND compared_at IS NULL

-- name: job
SELECT * FROM jobs WHERE id = :job_id

-- name: results_of_job
-- One rendition is enough: both say the same.
SELECT kind, path FROM results WHERE job_id = :job_id AND removed_at IS NULL ORDER BY rendition, position

-- name: retry
-- Not after those that wait already: the clock may have been set back since it was queued.
UPDATE jobs SET state = 'waiting', attempts = 0, available_at = :now, backs_off = 0, cancel_asked = 0, code = '',
    reason = '', progress = '', finished_at = NULL,
    due = min(due, :now, coalesce((SELECT max(due) FROM jobs WHERE state = 'waiting'), due))
WHERE id = :job_id AND state IN ('failed', 'rejected', 'cancelled')

-- name: cancel
UPDATE jobs SET state = 'cancelled', reason = 'cancelled by a person', finished_at = :now
WHERE id = :job_id AND state = 'waiting'

-- name: ask_cancel
UPDATE jobs SET cancel_asked = 1 WHERE id = :job_id AND state = 'running'

-- name: pauses
SELECT kind, name, reason, since FROM pauses ORDER BY kind, name

-- name: pause
INSERT INTO pauses (kind, name, reason, since) VALUES (:kind, :name, :reason, :now)
ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason

-- name: resume
DELETE FROM pauses WHERE kind = :kind AND name = :name

-- name: jobs_of_older_revisions
-- Those that still matter: waiting, running, done or dead-lettered, or rejected with a report of that; and without a
-- successor that will be read.
SELECT j.id, j.state, j.chosen, j.bundle_digest, j.input_digest, ro.attributes = rn.attributes AS same_attributes
FROM jobs j JOIN revisions ro ON ro.id = j.revision_id JOIN revisions rn ON rn.id = :revision_id
WHERE j.study_id = :study_id AND j.route = :route AND j.superseded_by = '' AND j.revision_id < :revision_id
    AND (j.state IN ('waiting', 'running', 'done', 'failed')
        OR (j.state = 'rejected' AND EXISTS (SELECT 1 FROM results r WHERE r.job_id = j.id)))
ORDER BY j.created_at, j.id

-- name: same_read
SELECT id FROM jobs WHERE study_id = :study_id AND route = :route AND bundle_digest = :bundle_digest
    AND input_digest = :input_digest

-- name: asked_for
-- Reads that people asked for and that still stand.
SELECT DISTINCT bundle_folder, bundle_digest, options FROM jobs WHERE study_id = :study_id AND route = :route AND superseded_at = ''
    AND state IN ('waiting', 'running', 'done', 'failed')

-- name: read_that_exists
-- Of one input by one bundle, on whatever route: those that are sent before those in shadow.
SELECT id, state, study_id FROM jobs WHERE study_id = :study_id AND bundle_digest = :bundle_digest
    AND input_digest = :input_digest AND superseded_at = ''
ORDER BY state IN ('failed', 'cancelled'), mode = 'shadow', created_at LIMIT 1

-- name: hurry
UPDATE jobs SET priority = :priority WHERE id = :job_id AND state = 'waiting' AND priority < :priority

-- name: mark_superseded
UPDATE jobs SET superseded_by = :successor, superseded_at = CASE superseded_at WHEN '' THEN :now ELSE superseded_at END
WHERE id = :job_id

-- name: mark_sign_off_superseded
UPDATE sign_offs SET superseded_at = :now WHERE job_id = :job_id AND superseded_at = ''

-- name: cancel_superseded
UPDATE jobs SET state = 'cancelled', code = 'superseded', reason = :reason, finished_at = :now
WHERE id = :job_id AND state IN ('waiting', 'failed')

-- name: stop_superseded
UPDATE jobs SET cancel_asked = 1 WHERE id = :job_id AND state = 'running'

-- name: withdraw_of_job
-- What a person signed goes out all the same, with the segmentation that waited for it, unless it names somebody else.
UPDATE outbox SET state = 'withdrawn', last_error = '',
    hold_reason = CASE WHEN hold_reason LIKE 'recalled %' THEN hold_reason ELSE 'withdrawn: ' || :why END
WHERE state IN ('pending', 'held') AND job_id = :job_id AND (:signed_too
    OR NOT EXISTS (SELECT 1 FROM sign_offs g WHERE g.job_id = outbox.job_id)
    OR sop_instance_uid NOT IN (SELECT r.sop_instance_uid FROM results r JOIN jobs j ON j.id = outbox.job_id
        WHERE r.sign_off_id != '' OR j.send = 'after signing'))

-- name: withdraw_superseded
WITH RECURSIVE older (id) AS (
    SELECT id FROM jobs WHERE superseded_by = :job_id
    UNION
    SELECT j.id FROM jobs j JOIN older o ON j.superseded_by = o.id
)
UPDATE outbox SET state = 'withdrawn', last_error = '',
    hold_reason = CASE WHEN hold_reason LIKE 'recalled %' THEN hold_reason ELSE 'withdrawn: ' || :why END
WHERE state IN ('pending', 'held') AND job_id IN (SELECT id FROM older) AND (
    :signed_too
    OR NOT EXISTS (SELECT 1 FROM sign_offs g WHERE g.job_id = outbox.job_id)
    OR sop_instance_uid NOT IN (SELECT r.sop_instance_uid FROM results r JOIN jobs j ON j.id = outbox.job_id
        WHERE r.sign_off_id != '' OR j.send = 'after signing'))

-- name: signed_predecessors
-- What was signed of the reads whose place this one took.
WITH RECURSIVE older (id) AS (
    SELECT id FROM jobs WHERE superseded_by = :job_id
    UNION
    SELECT j.id FROM jobs j JOIN older o ON j.superseded_by = o.id
)
SELECT r.sop_class_uid, r.sop_instance_uid, r.series_instance_uid, r.rendition FROM results r JOIN older o ON r.job_id = o.id
WHERE r.sign_off_id != '' AND r.kind = 'SR' ORDER BY r.sop_instance_uid

-- name: delivered_predecessors
-- The newest delivered report on each line of superseded jobs: where there is one, no older one is looked for.
WITH RECURSIVE line (id, delivered) AS (
    SELECT j.id, EXISTS (SELECT 1 FROM delivered_reports d WHERE d.job_id = j.id) FROM jobs j
    WHERE j.superseded_by = :job_id
    UNION
    SELECT j.id, EXISTS (SELECT 1 FROM delivered_reports d WHERE d.job_id = j.id) FROM jobs j
    JOIN line l ON j.superseded_by = l.id WHERE NOT l.delivered
)
SELECT DISTINCT d.job_id, d.sop_class_uid, d.sop_instance_uid, d.series_instance_uid
FROM line l JOIN delivered_reports d ON d.job_id = l.id ORDER BY d.sop_instance_uid
