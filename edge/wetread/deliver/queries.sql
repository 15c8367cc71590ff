-- name: next_study
SELECT j.study_id FROM outbox o JOIN jobs j ON j.id = o.job_id JOIN studies s ON s.id = j.study_id
WHERE o.destination = :destination AND o.state = 'pending' AND (o.available_at <= :now OR o.available_at > :latest)
    AND s.state = 'complete'
    -- What a person paused waits, in its order.
    AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.kind = 'all' OR (p.kind = 'route' AND p.name = j.route)
        OR (p.kind = 'bundle' AND p.name = j.bundle))
    -- More came: what the older revision said may be withdrawn.
    AND NOT EXISTS (SELECT 1 FROM revisions u WHERE u.study_id = s.id AND u.routed_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM jobs n WHERE n.study_id = j.study_id AND n.route = j.route AND n.bundle = j.bundle
        AND n.revision_id > j.revision_id AND n.state IN ('waiting', 'running'))
    -- The order within a study: nothing goes before an earlier object that is tried again later.
    AND NOT EXISTS (SELECT 1 FROM jobs k JOIN outbox e ON e.job_id = k.id WHERE k.study_id = j.study_id
        AND e.destination = o.destination AND e.state = 'pending' AND e.refused = 0 AND e.id < o.id
        AND e.available_at > :now AND e.available_at <= :latest)
ORDER BY o.available_at, o.id LIMIT 1

-- name: pending_of_study
SELECT o.id, o.job_id, o.attempts, o.refused, o.confirmed, r.sign_off_id, r.path, r.sha256, r.kind, r.sop_class_uid,
    r.sop_instance_uid, r.series_instance_uid, j.study_id, s.study_instance_uid,
    coalesce(nullif(s.last_instance_at, ''), (SELECT max(i.received_at) FROM instances i
        WHERE i.study_id = s.id AND i.role = 'source'), s.created_at) AS last_image_at,
    o.available_at <= :now OR o.available_at > :latest AS due
FROM outbox o JOIN results r ON r.sop_instance_uid = o.sop_instance_uid JOIN jobs j ON j.id = o.job_id
JOIN studies s ON s.id = j.study_id
WHERE o.destination = :destination AND o.state = 'pending' AND j.study_id = :study_id
    -- What a person paused waits, in its order.
    AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.kind = 'all' OR (p.kind = 'route' AND p.name = j.route)
        OR (p.kind = 'bundle' AND p.name = j.bundle))
    AND NOT EXISTS (SELECT 1 FROM jobs n WHERE n.study_id = j.study_id AND n.route = j.route AND n.bundle = j.bundle
        AND n.revision_id > j.revision_id AND n.state IN ('waiting', 'running'))
ORDER BY o.id

-- name: state
SELECT state FROM outbox WHERE id = :id

-- name: delivered
UPDATE outbox SET state = 'delivered', attempts = attempts + 1, delivered_at = :now, last_error = '', refused = 0,
    asked_now = 0, warning = :warning, verified = :verified, verified_at = CASE :verified WHEN '' THEN NULL ELSE :now END
WHERE id = :id

-- name: not_delivered
UPDATE outbox SET attempts = attempts + 1, available_at = :available_at, last_error = :error, refused = :refused,
    asked_now = 0
WHERE id = :id AND state = 'pending'

-- name: hold
UPDATE outbox SET state = 'held', hold_reason = :reason WHERE id = :id AND state = 'pending'

-- name: destinations_of_job
SELECT DISTINCT destination FROM outbox WHERE job_id = :job_id ORDER BY destination

-- name: said_not_asked
SELECT 1 FROM events WHERE study_id = :study_id AND job_id = :job_id AND action = 'not_asked' AND detail = :detail

-- name: some_delivered
SELECT 1 FROM outbox WHERE job_id = :job_id AND destination = :destination AND state = 'delivered' LIMIT 1

-- name: unverified
SELECT o.id, o.job_id, o.attempts, o.delivered_at, r.kind, r.sop_class_uid, r.sop_instance_uid, r.series_instance_uid,
    j.study_id, s.study_instance_uid
FROM outbox o JOIN results r ON r.sop_instance_uid = o.sop_instance_uid JOIN jobs j ON j.id = o.job_id
JOIN studies s ON s.id = j.study_id
WHERE o.destination = :destination AND o.state = 'delivered' AND o.verified = '' ORDER BY o.id LIMIT 10000

-- name: verified
UPDATE outbox SET verified = :how, verified_at = :now, last_error = '' WHERE id = :id AND state = 'delivered'

-- name: missing
UPDATE outbox SET state = 'pending', available_at = :available_at, last_error = :error, delivered_at = NULL
WHERE id = :id AND state = 'delivered' AND verified = ''

-- name: not_verified_yet
UPDATE outbox SET last_error = :why WHERE id = :id AND state = 'delivered' AND verified = ''

-- name: pending
SELECT count(*) AS n FROM outbox WHERE state = 'pending'

-- name: ask_commitment
INSERT INTO commitments (transaction_uid, destination, outbox_ids, asked_at)
VALUES (:transaction_uid, :destination, :outbox_ids, :now)

-- name: not_asked
DELETE FROM commitments WHERE transaction_uid = :transaction_uid AND answered_at IS NULL

-- name: commitments_asked
SELECT transaction_uid, outbox_ids, asked_at, answered_at FROM commitments WHERE destination = :destination
    AND EXISTS (SELECT 1 FROM json_each(outbox_ids) k WHERE k.value IN (SELECT value FROM json_each(:ids)))

-- name: commitment
SELECT * FROM commitments WHERE transaction_uid = :transaction_uid

-- name: commitment_answered
UPDATE commitments SET answered_at = :now, failed = :failed WHERE transaction_uid = :transaction_uid

-- name: outbox_rows
SELECT o.id, o.job_id, o.attempts, o.state, o.verified, r.kind, r.sop_instance_uid, j.study_id
FROM outbox o JOIN results r ON r.sop_instance_uid = o.sop_instance_uid JOIN jobs j ON j.id = o.job_id
WHERE o.id IN (SELECT value FROM json_each(:ids)) ORDER BY o.id

-- name: chosen_by_person
SELECT o.id, o.state, o.refused, o.hold_reason, o.destination, o.delivered_at, o.verified, r.kind, r.sop_instance_uid,
    r.series_instance_uid, j.id AS job_id, j.study_id, s.state AS study_state
FROM outbox o JOIN results r ON r.sop_instance_uid = o.sop_instance_uid JOIN jobs j ON j.id = o.job_id
JOIN studies s ON s.id = j.study_id
WHERE (:every OR j.id GLOB :job OR s.study_instance_uid = :study) AND (:destination = '' OR o.destination = :destination)
ORDER BY o.id

-- name: release
UPDATE outbox SET state = 'pending', available_at = :now, hold_reason = '', last_error = '',
    confirmed = CASE confirmed WHEN '' THEN hold_reason ELSE confirmed || char(10) || hold_reason END
WHERE id = :id AND state = 'held'

-- name: try_now
UPDATE outbox SET available_at = :now, asked_now = 1 WHERE id = :id AND state = 'pending'

-- name: try_earlier
UPDATE outbox SET available_at = :now, asked_now = 1
WHERE state = 'pending' AND refused = 0 AND asked_now = 0 AND destination = :destination AND id < :id
    AND job_id IN (SELECT id FROM jobs WHERE study_id = :study_id)

-- name: asked_now
SELECT 1 FROM outbox WHERE destination = :destination AND asked_now = 1 AND state = 'pending' LIMIT 1

-- name: forget_asked
UPDATE outbox SET asked_now = 0 WHERE destination = :destination AND asked_now = 1

-- name: recall
UPDATE outbox SET state = 'withdrawn', hold_reason = :reason, last_error = '' WHERE id = :id AND state IN ('pending', 'held')

-- name: set_rendition
INSERT INTO destination_renditions (destination, rendition, decided_by, decided_at)
VALUES (:destination, :rendition, 'setting', :now)
ON CONFLICT (destination) DO UPDATE SET rendition = excluded.rendition, decided_by = 'setting', decided_at = :now
WHERE rendition != excluded.rendition OR decided_by != 'setting'

-- name: rendition_to_ask
INSERT INTO destination_renditions (destination) VALUES (:destination)
ON CONFLICT (destination) DO UPDATE SET rendition = '', decided_by = '', decided_at = NULL WHERE decided_by = 'setting'

-- name: rendition
SELECT rendition FROM destination_renditions WHERE destination = :destination

-- name: rendition_wanted_soon
SELECT 1 FROM destination_renditions WHERE destination = :destination AND rendition = ''
    AND EXISTS (SELECT 1 FROM studies WHERE state = 'receiving')

-- name: decided_rendition
SELECT rendition, decided_by FROM destination_renditions WHERE destination = :destination

-- name: negotiate_again
UPDATE destination_renditions SET rendition = '', decided_by = '', decided_at = NULL
WHERE destination = :destination AND decided_by = 'negotiated'

-- name: negotiated
UPDATE destination_renditions SET rendition = :rendition, decided_by = 'negotiated', decided_at = :now
WHERE destination = :destination AND rendition = ''

-- name: jobs_not_begun
-- Where two routes asked for one read, the results belong to the first of its jobs.
SELECT o.job_id, min(r.job_id) AS result_job_id FROM outbox o JOIN results r ON r.sop_instance_uid = o.sop_instance_uid
WHERE o.destination = :destination AND o.state IN ('pending', 'held')
    AND NOT EXISTS (SELECT 1 FROM outbox d WHERE d.job_id = o.job_id AND d.destination = o.destination
        AND d.state = 'delivered')
GROUP BY o.job_id ORDER BY o.job_id

-- name: twins_of_waiting
-- For each common object that waits, the modern one that says the same: of one kind, sign-off and place in its rendition.
WITH placed AS (
    SELECT r.sop_instance_uid, r.rendition, r.kind, r.sign_off_id,
        row_number() OVER (PARTITION BY r.rendition, r.kind, r.sign_off_id ORDER BY r.position) AS place
    FROM results r WHERE r.job_id = :result_job_id
)
SELECT o.id, m.sop_instance_uid FROM outbox o
JOIN placed c ON c.sop_instance_uid = o.sop_instance_uid AND c.rendition = 'common'
LEFT JOIN placed m ON m.rendition = 'modern' AND (m.kind, m.sign_off_id, m.place) = (c.kind, c.sign_off_id, c.place)
    AND NOT EXISTS (SELECT 1 FROM outbox d WHERE d.sop_instance_uid = m.sop_instance_uid
        AND d.destination = o.destination)
WHERE o.destination = :destination AND o.job_id = :job_id AND o.state IN ('pending', 'held') ORDER BY o.id

-- name: exchange
UPDATE outbox SET sop_instance_uid = :sop_instance_uid, refused = 0 WHERE id = :id

-- name: add_voucher
INSERT INTO vouchers (peer, transaction_uid, instances, state, answer, asked_at, available_at)
VALUES (:peer, :transaction_uid, :instances, :state, :answer, :now, :now)

-- name: vouchers_of
SELECT * FROM vouchers WHERE peer = :peer AND transaction_uid = :transaction_uid ORDER BY id

-- name: voucher_asked
SELECT * FROM vouchers WHERE archive_transaction_uid = :archive_transaction_uid AND state = 'asked'

-- name: due_voucher
SELECT * FROM vouchers WHERE state IN ('to ask', 'asked', 'to report') AND (available_at <= :now OR available_at > :latest)
ORDER BY available_at, id LIMIT 1

-- name: set_voucher
UPDATE vouchers SET state = :state, available_at = :available_at, problem = :problem, attempts = :attempts
WHERE id = :id

-- name: voucher_asks
UPDATE vouchers SET archive_transaction_uid = :archive_transaction_uid WHERE id = :id

-- name: voucher_answer
UPDATE vouchers SET answer = :answer WHERE id = :id

-- name: forget_vouchers
DELETE FROM vouchers WHERE state IN ('done', 'given up') AND available_at < :before
