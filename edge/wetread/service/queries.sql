-- name: studies
SELECT * FROM study_status
WHERE (:state = '' OR state = :state)
    AND (:patient_id = '' OR :patient_id IN (attributes ->> '$.patient.patient_id', nullif(correction, '') ->> '$.patient_id'))
    AND (:accession_number = ''
        OR :accession_number IN (attributes ->> '$.accession_number', nullif(correction, '') ->> '$.accession_number'))
    AND (:uid = '' OR study_instance_uid = :uid)
ORDER BY created_at DESC LIMIT :limit

-- name: study
SELECT * FROM study_status WHERE study_instance_uid = :study_instance_uid

-- name: study_by_number
SELECT study_instance_uid FROM studies WHERE id = :number

-- name: timeline
SELECT at, action, detail, job_id FROM events WHERE study_id = :study_id ORDER BY id

-- name: series
SELECT se.attributes, i.role, count(*) AS instances FROM series se
JOIN instances i ON i.study_id = se.study_id AND i.series_instance_uid = se.series_instance_uid
WHERE se.study_id = :study_id GROUP BY se.series_instance_uid, i.role ORDER BY min(i.id)

-- name: decisions
SELECT r.number AS revision, d.route, d.outcome, d.reason, d.verdicts FROM decisions d
JOIN revisions r ON r.id = d.revision_id WHERE r.study_id = :study_id ORDER BY r.number, d.route

-- name: jobs
SELECT j.*, s.study_instance_uid, s.attributes, s.correction FROM jobs j JOIN studies s ON s.id = j.study_id
WHERE j.created_at >= :since AND (:route = '' OR j.route = :route) ORDER BY j.created_at DESC LIMIT :limit

-- name: jobs_in_state
SELECT j.*, s.study_instance_uid, s.attributes, s.correction FROM jobs j JOIN studies s ON s.id = j.study_id
WHERE j.state = :state AND j.created_at >= :since AND (:route = '' OR j.route = :route)
ORDER BY j.created_at DESC LIMIT :limit

-- name: jobs_of_one_study
SELECT j.*, s.study_instance_uid, s.attributes, s.correction FROM jobs j JOIN studies s ON s.id = j.study_id
WHERE s.study_instance_uid = :study AND (:state = '' OR j.state = :state) AND j.created_at >= :since
    AND (:route = '' OR j.route = :route)
ORDER BY j.created_at DESC LIMIT :limit

-- name: jobs_by_route
SELECT route, state, count(*) AS n FROM jobs GROUP BY route, state ORDER BY route, state

-- name: held_back
SELECT j.route, count(*) AS n FROM outbox o JOIN jobs j ON j.id = o.job_id WHERE o.state = 'pending' GROUP BY j.route

-- name: comparisons
SELECT shadow_job_id, live_job_id, document, compared_at FROM comparisons
WHERE shadow_job_id = :job_id OR live_job_id = :job_id ORDER BY shadow_job_id, live_job_id

-- name: latest_revisions
SELECT r.id AS revision_id, r.number, s.id AS study_id, s.study_instance_uid, s.created_at, s.state, s.reason
FROM studies s JOIN revisions r ON r.study_id = s.id
WHERE r.number = (SELECT max(n.number) FROM revisions n WHERE n.study_id = s.id)
ORDER BY s.id DESC LIMIT :limit

-- name: recorded_decision
SELECT outcome FROM decisions WHERE revision_id = :revision_id AND route = :route

-- name: same_read
SELECT id FROM jobs WHERE study_id = :study_id AND route = :route AND bundle_digest = :bundle_digest
    AND input_digest = :input_digest

-- name: jobs_of_study
SELECT j.*, s.study_instance_uid FROM jobs j JOIN studies s ON s.id = j.study_id
WHERE j.study_id = :study_id ORDER BY j.created_at

-- name: job
SELECT j.*, s.study_instance_uid FROM jobs j JOIN studies s ON s.id = j.study_id WHERE j.id GLOB :prefix

-- name: attempts
SELECT number, started_at, ended_at, outcome, reason FROM attempts WHERE job_id = :job_id ORDER BY number

-- name: results
SELECT r.kind, r.rendition, r.sop_instance_uid, r.series_instance_uid, r.path FROM results r
WHERE r.job_id = :job_id ORDER BY r.position

-- name: deliveries
-- A held study sends nothing: that is why its objects wait, whatever the last try ended with.
SELECT o.destination, r.kind, o.state, o.attempts, o.refused, o.confirmed, o.warning,
    CASE WHEN o.state = 'pending' AND s.state = 'held' THEN '' ELSE o.last_error END AS last_error,
    CASE WHEN o.state = 'pending' AND s.state = 'held'
        THEN CASE WHEN s.reason LIKE 'held %' THEN s.reason ELSE 'held: ' || s.reason END ELSE o.hold_reason END AS hold_reason,
    o.delivered_at, o.verified, o.verified_at, o.available_at, r.sop_instance_uid,
    -- While a destination is away nothing else is tried there before what failed.
    (SELECT min(x.available_at) FROM outbox x
     WHERE x.destination = o.destination AND x.state = 'pending' AND x.attempts > 0 AND NOT x.refused) AS tried_next_at
FROM outbox o JOIN results r ON r.sop_instance_uid = o.sop_instance_uid JOIN jobs j ON j.id = o.job_id
JOIN studies s ON s.id = j.study_id WHERE o.job_id = :job_id ORDER BY o.id

-- name: unreadable
SELECT path, reason, found_at FROM unreadable ORDER BY found_at

-- name: refusals
SELECT * FROM refusals ORDER BY last_at DESC LIMIT :limit

-- name: last_sent
SELECT peer, max(ended_at) AS last_at FROM associations GROUP BY peer

-- name: counts
SELECT state, count(*) AS n FROM study_status GROUP BY state ORDER BY state

-- name: hold_restored_results
UPDATE outbox SET state = 'held', hold_reason = :reason WHERE state = 'pending'

-- name: open_studies
SELECT s.id FROM studies s WHERE s.state = 'receiving'
    OR EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state IN ('waiting', 'running'))
    OR EXISTS (SELECT 1 FROM revisions r WHERE r.study_id = s.id AND r.routed_at IS NULL)

-- name: hold_restored_study
UPDATE studies SET state = 'held', reason = :reason WHERE id = :study_id

-- name: revisions
SELECT number, evidence, reason, created_at FROM revisions WHERE study_id = :study_id ORDER BY number

-- name: deliveries_of_jobs
SELECT j.id AS job_id, s.study_instance_uid, j.route, o.destination, j.finished_at,
    count(*) AS objects, sum(o.state = 'delivered') AS delivered, sum(o.state = 'delivered' AND o.verified != '') AS verified,
    sum(o.state = 'pending') AS pending, sum(o.state = 'pending' AND o.refused) AS refused, sum(o.state = 'held') AS held,
    sum(o.state = 'withdrawn') AS withdrawn, max(o.attempts) AS attempts,
    coalesce(
        max(CASE WHEN o.state = 'held' THEN nullif(o.hold_reason, '') END),
        -- A held study sends nothing: that is why its objects wait, whatever the last try ended with.
        max(CASE WHEN o.state = 'pending' AND s.state = 'held'
            THEN CASE WHEN s.reason LIKE 'held %' THEN s.reason ELSE 'held: ' || s.reason END END),
        max(nullif(o.last_error, '')), max(nullif(o.hold_reason, '')), max(nullif(o.warning, '')), '') AS reason
FROM outbox o JOIN jobs j ON j.id = o.job_id JOIN studies s ON s.id = j.study_id
WHERE :study = '' OR s.study_instance_uid = :study
GROUP BY j.id, o.destination
HAVING :state = '' OR sum(o.state = :state) > 0
ORDER BY j.finished_at DESC LIMIT :limit

-- name: destinations
SELECT destination, rendition, decided_by, decided_at FROM destination_renditions

-- name: waiting_for
SELECT destination, sum(state = 'pending') AS pending, sum(state = 'pending' AND refused) AS refused,
    sum(state = 'held') AS held,
    min(CASE WHEN state = 'pending' AND attempts > 0 AND NOT refused THEN available_at END) AS tried_next_at,
    max(CASE WHEN state = 'pending' AND attempts > 0 AND NOT refused THEN last_error END) AS last_error
FROM outbox WHERE state IN ('pending', 'held') GROUP BY destination

-- name: newest_revision
SELECT s.state, s.reason, (SELECT max(r.id) FROM revisions r WHERE r.study_id = s.id) AS revision_id
FROM studies s WHERE s.study_instance_uid = :study_instance_uid

-- name: latest_job
SELECT id FROM jobs WHERE study_id = :study_id AND bundle = :bundle ORDER BY created_at DESC, rowid DESC LIMIT 1

-- name: reports_of_bundle
SELECT report FROM jobs WHERE bundle = :bundle AND state = 'done' ORDER BY finished_at DESC LIMIT :limit

-- name: progress
SELECT j.id, j.state, j.progress, j.code, j.reason, j.predicted_s, j.cancel_asked, j.bundle,
    (SELECT a.started_at FROM attempts a WHERE a.job_id = j.id ORDER BY a.number DESC LIMIT 1) AS started_at,
    CASE j.state WHEN 'waiting' THEN (SELECT count(*) FROM jobs o WHERE o.state IN ('waiting', 'running') AND o.id != j.id
        AND (o.state = 'running' OR (o.held = 0 AND julianday(o.due) - o.priority * :head_start_days
            <= julianday(j.due) - j.priority * :head_start_days))) END AS ahead
FROM jobs j WHERE j.id = :job_id

-- name: job_by_id
SELECT j.*, s.study_instance_uid, r.attributes FROM jobs j JOIN studies s ON s.id = j.study_id
JOIN revisions r ON r.id = j.revision_id WHERE j.id = :job_id

-- name: read_input
SELECT document FROM read_inputs WHERE job_id = :job_id

-- name: result_files
SELECT kind, name, path, sha256 FROM result_files WHERE job_id = :job_id ORDER BY kind, name

-- name: objects
SELECT r.sop_instance_uid, r.series_instance_uid, r.kind, r.path, r.rendition, r.sign_off_id, r.removed_at
FROM results r WHERE r.job_id = :job_id ORDER BY r.position

-- name: deliveries_of_object
SELECT o.destination, o.state, o.attempts, o.delivered_at, o.verified,
    CASE WHEN o.state = 'pending' AND s.state = 'held' THEN '' ELSE o.last_error END AS last_error,
    CASE WHEN o.state = 'pending' AND s.state = 'held'
        THEN CASE WHEN s.reason LIKE 'held %' THEN s.reason ELSE 'held: ' || s.reason END ELSE o.hold_reason END AS hold_reason
FROM outbox o JOIN jobs j ON j.id = o.job_id JOIN studies s ON s.id = j.study_id
WHERE o.sop_instance_uid = :sop_instance_uid ORDER BY o.destination

-- name: instances_of_series
SELECT i.sop_instance_uid, i.sop_class_uid, i.instance_number, i.path, i.content_digest, i.removed_at FROM instances i
JOIN studies s ON s.id = i.study_id
WHERE s.study_instance_uid = :study_instance_uid AND i.series_instance_uid = :series_instance_uid
ORDER BY i.instance_number, i.sop_instance_uid

-- name: stored_instance
SELECT i.path, i.removed_at FROM instances i JOIN studies s ON s.id = i.study_id
WHERE s.study_instance_uid = :study_instance_uid AND i.sop_instance_uid = :sop_instance_uid

-- name: slice_order
SELECT document FROM read_inputs p JOIN jobs j ON j.id = p.job_id JOIN studies s ON s.id = j.study_id
WHERE s.study_instance_uid = :study_instance_uid AND p.document ->> '$.series_instance_uid' = :series_instance_uid
ORDER BY j.created_at DESC LIMIT 1

-- name: sign_off
SELECT reader, organization, signed_at, superseded_at FROM sign_offs WHERE job_id = :job_id
