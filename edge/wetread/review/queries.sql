-- name: job
SELECT j.id, j.study_id, j.revision_id, j.route, j.mode, j.send, j.state, j.reason, j.report, j.destinations,
    j.superseded_by, j.superseded_at, s.study_instance_uid, r.attributes,
    EXISTS (SELECT 1 FROM revisions n WHERE n.study_id = j.study_id AND n.id > j.revision_id AND n.routed_at IS NULL)
        AS study_is_changing
FROM jobs j JOIN studies s ON s.id = j.study_id JOIN revisions r ON r.id = j.revision_id WHERE j.id = :job_id

-- name: decisions
SELECT id, tracking_uid, action, comment, reader, at FROM review_decisions WHERE job_id = :job_id ORDER BY number

-- name: decision
SELECT * FROM review_decisions WHERE id = :id

-- name: add_decision
INSERT INTO review_decisions (id, job_id, number, tracking_uid, action, comment, reader, at, recorded_at)
VALUES (:id, :job_id, :number, :tracking_uid, :action, :comment, :reader, :at, :now)

-- name: holder
SELECT reader, since FROM review_holders WHERE job_id = :job_id

-- name: hold
INSERT INTO review_holders (job_id, reader, since) VALUES (:job_id, :reader, :now)
ON CONFLICT (job_id) DO UPDATE SET reader = excluded.reader, since = excluded.since

-- name: let_go
DELETE FROM review_holders WHERE job_id = :job_id

-- name: sign_off
SELECT * FROM sign_offs WHERE job_id = :job_id

-- name: sign_off_by_id
SELECT * FROM sign_offs WHERE id = :id

-- name: add_sign_off
INSERT INTO sign_offs (id, job_id, version, reader, organization, reader_id, signed_at)
VALUES (:id, :job_id, :version, :reader, :organization, :reader_id, :signed_at)

-- name: signed_reports
SELECT r.sop_instance_uid, r.series_instance_uid, r.rendition FROM results r WHERE r.sign_off_id = :id AND r.kind = 'SR'
ORDER BY r.rendition, r.position
