-- name: next_study
SELECT j.study_id FROM outbox o JOIN jobs j ON j.id = o.job_id JOIN studies s ON s.id = j.study_id
WHERE o.destination = :destination AND o.state = 'pending' AND o.available_at <= :now AND s.state != 'held'
    -- A newer revision is about to be read: what the older one said may be withdrawn.
    AND NOT EXISTS (SELECT 1 FROM jobs n WHERE n.study_id = j.study_id AND n.route = j.route AND n.bundle = j.bundle
        AND n.revision_id > j.revision_id AND n.state IN ('waiting', 'running'))
ORDER BY o.available_at, o.id LIMIT 1

-- name: due_of_study
SELECT o.id, o.job_id, o.attempts, r.path, r.sha256, r.kind, r.sop_instance_uid, j.study_id
FROM outbox o JOIN results r ON r.sop_instance_uid = o.sop_instance_uid JOIN jobs j ON j.id = o.job_id
WHERE o.destination = :destination AND o.state = 'pending' AND j.study_id = :study_id
ORDER BY o.id

-- name: delivered
UPDATE outbox SET state = 'delivered', attempts = attempts + 1, delivered_at = :now, last_error = '' WHERE id = :id

-- name: not_delivered
UPDATE outbox SET attempts = attempts + 1, available_at = :available_at, last_error = :error WHERE id = :id

-- name: pending
SELECT count(*) AS n FROM outbox WHERE state = 'pending'
