-- name: study_by_uid
SELECT * FROM studies WHERE study_instance_uid = :study_instance_uid

-- name: study_by_id
SELECT * FROM studies WHERE id = :study_id

-- name: add_study
INSERT INTO studies (study_instance_uid, folder, attributes, priority, state, created_at, updated_at)
VALUES (:study_instance_uid, :folder, :attributes, :priority, 'receiving', :now, :now)
RETURNING id

-- name: set_attributes
UPDATE studies SET attributes = :attributes WHERE id = :study_id

-- name: set_state
-- A study that is held is held once more: both reasons stand, whoever releases it must know all of them.
UPDATE studies SET state = :state, updated_at = :now, reason = CASE
    WHEN state <> 'held' OR :state <> 'held' OR reason = '' THEN :reason
    WHEN instr(reason, :reason) THEN reason
    ELSE reason || '; ' || :reason END
WHERE id = :study_id

-- name: touch_study
UPDATE studies SET state = CASE state WHEN 'complete' THEN 'receiving' ELSE state END,
    reason = CASE state WHEN 'complete' THEN '' ELSE reason END, updated_at = :now, last_instance_at = :now
WHERE id = :study_id

-- name: has_series
SELECT 1 FROM series WHERE study_id = :study_id AND series_instance_uid = :series_instance_uid

-- name: add_series
INSERT INTO series (study_id, series_instance_uid, attributes) VALUES (:study_id, :series_instance_uid, :attributes)

-- name: instance
SELECT * FROM instances WHERE study_id = :study_id AND sop_instance_uid = :sop_instance_uid

-- name: add_instance
INSERT INTO instances (study_id, series_instance_uid, sop_instance_uid, sop_class_uid, instance_number, role,
                       content_digest, pixel_digest, path, peer, received_at, association_id, film)
VALUES (:study_id, :series_instance_uid, :sop_instance_uid, :sop_class_uid, :instance_number, :role,
        :content_digest, :pixel_digest, :path, :peer, :received_at, :association_id, :film)

-- name: is_own
SELECT 1 FROM results WHERE sop_instance_uid = :sop_instance_uid

-- name: other_source
SELECT 1 FROM instances WHERE study_id = :study_id AND role = 'source' AND sop_instance_uid != :sop_instance_uid LIMIT 1

-- name: add_unreadable
INSERT INTO unreadable (path, reason, found_at) VALUES (:path, :reason, :now) ON CONFLICT DO NOTHING

-- name: receiving
SELECT id FROM studies WHERE state = 'receiving'

-- name: source_instances
SELECT * FROM instances WHERE study_id = :study_id AND role = 'source' ORDER BY content_digest

-- name: last_revision
SELECT * FROM revisions WHERE study_id = :study_id ORDER BY number DESC LIMIT 1

-- name: add_revision
INSERT INTO revisions (study_id, number, digest, reason, evidence, attributes, created_at)
VALUES (:study_id, :number, :digest, :reason, :evidence, :attributes, :now)
RETURNING id

-- name: add_revision_instance
INSERT INTO revision_instances (revision_id, instance_id) VALUES (:revision_id, :instance_id)

-- name: unrouted_revisions
-- One that was corrected since waits for the revision that says so: routed alone it would be read for nothing.
SELECT r.id, r.study_id FROM revisions r JOIN studies s ON s.id = r.study_id
WHERE r.routed_at IS NULL AND s.state != 'held' AND NOT (s.state = 'receiving' AND s.correction != ''
    AND json_extract(s.correction, '$.serial') IS NOT json_extract(r.attributes, '$.correction.serial'))
ORDER BY r.id

-- name: revision
SELECT r.*, s.study_instance_uid FROM revisions r JOIN studies s ON s.id = r.study_id
WHERE r.id = :revision_id

-- name: revision_series
SELECT se.series_instance_uid, se.attributes FROM series se
WHERE se.study_id = :study_id AND EXISTS (
    SELECT 1 FROM revision_instances ri JOIN instances i ON i.id = ri.instance_id
    WHERE ri.revision_id = :revision_id AND i.series_instance_uid = se.series_instance_uid)
ORDER BY se.series_instance_uid

-- name: revision_instances
SELECT i.* FROM revision_instances ri JOIN instances i ON i.id = ri.instance_id
WHERE ri.revision_id = :revision_id ORDER BY i.series_instance_uid, i.instance_number, i.sop_instance_uid

-- name: add_association
INSERT INTO associations (id, peer, ended, instances, ended_at)
VALUES (:association_id, :peer, :ended, :instances, :ended_at) ON CONFLICT DO NOTHING

-- name: add_refusal
INSERT INTO refusals (calling, called, address, reason, hint, count, first_at, last_at)
VALUES (:calling, :called, :address, :reason, :hint, :count, :first_at, :last_at)
ON CONFLICT (calling, called, address, reason) DO UPDATE SET
    hint = excluded.hint, count = count + excluded.count, last_at = excluded.last_at

-- name: forget_refusals
DELETE FROM refusals WHERE rowid NOT IN (SELECT rowid FROM refusals ORDER BY last_at DESC LIMIT :kept)

-- name: raise_priority
UPDATE studies SET priority = :priority WHERE id = :study_id AND priority < :priority

-- name: here_again
UPDATE instances SET removed_at = NULL WHERE id = :instance_id

-- name: oldest_sources
-- A study is finished when nothing is to be done with it: view study_status says so.
SELECT s.id AS study_id, s.folder AS name FROM studies s
WHERE s.state = 'complete' AND s.updated_at < :before
    AND EXISTS (SELECT 1 FROM instances i WHERE i.study_id = s.id AND i.removed_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.study_id = s.id AND j.state IN ('waiting', 'running', 'failed'))
    AND (SELECT state FROM study_status v WHERE v.id = s.id) IN ('read', 'rejected', 'not read', 'cancelled')
ORDER BY s.updated_at LIMIT 1

-- name: oldest_results
SELECT j.study_id, j.id AS name FROM jobs j JOIN studies s ON s.id = j.study_id
WHERE j.state IN ('done', 'rejected') AND j.finished_at < :before AND s.updated_at < :before
    AND EXISTS (SELECT 1 FROM results r WHERE r.job_id = j.id AND r.removed_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.job_id = j.id AND (o.state IN ('pending', 'held')
        OR (o.state = 'delivered' AND o.verified = '')))  -- not known to have arrived: it may have to go again
    AND (SELECT state FROM study_status v WHERE v.id = s.id) IN ('read', 'rejected', 'not read', 'cancelled')
ORDER BY j.finished_at LIMIT 1

-- name: mark_sources_removed
UPDATE instances SET removed_at = :now WHERE removed_at IS NULL
    AND study_id = (SELECT id FROM studies WHERE folder = :name)

-- name: mark_results_removed
UPDATE results SET removed_at = :now WHERE removed_at IS NULL AND job_id = :name

-- name: forget_events
DELETE FROM events WHERE at < :before AND (study_id IS NULL OR study_id IN (
    SELECT s.id FROM studies s WHERE s.state = 'complete'
        AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.study_id = s.id AND i.removed_at IS NULL)
        AND NOT EXISTS (SELECT 1 FROM results r JOIN jobs j ON j.id = r.job_id
                        WHERE j.study_id = s.id AND r.removed_at IS NULL)))

-- name: erasable
SELECT s.id, s.folder, v.state FROM studies s JOIN study_status v ON v.id = s.id
WHERE s.study_instance_uid = :study_instance_uid

-- name: job_ids
SELECT id FROM jobs WHERE study_id = :study_id

-- name: erase_events
DELETE FROM events WHERE study_id = :study_id

-- name: erase_study
DELETE FROM studies WHERE id = :study_id

-- name: receiving_study
SELECT study_instance_uid, reason, announced_series, announced_instances FROM studies
WHERE id = :study_id AND state = 'receiving'

-- name: instances_by_series
SELECT i.series_instance_uid, i.role, count(*) AS n, se.announced_instances FROM instances i
LEFT JOIN series se ON se.study_id = i.study_id AND se.series_instance_uid = i.series_instance_uid
WHERE i.study_id = :study_id GROUP BY i.series_instance_uid, i.role

-- name: new_associations
-- Those that brought source instances which the last revision does not hold.
SELECT DISTINCT i.peer, i.association_id, coalesce(a.ended, '') AS ended
FROM instances i LEFT JOIN associations a ON a.id = i.association_id
WHERE i.study_id = :study_id AND i.role = 'source' AND NOT EXISTS (
    SELECT 1 FROM revision_instances ri WHERE ri.instance_id = i.id AND ri.revision_id = (
        SELECT id FROM revisions r WHERE r.study_id = :study_id ORDER BY r.number DESC LIMIT 1))

-- name: last_association
SELECT max(rowid) AS last FROM associations

-- name: lose_associations
INSERT INTO associations (id, peer, ended, instances, ended_at)
SELECT i.association_id, i.peer, 'lost', count(*), :now
FROM studies s CROSS JOIN instances i ON i.study_id = s.id  -- in this order: a spool may hold a million instances
WHERE s.state = 'receiving' AND i.association_id != '' AND i.received_at < :before
    AND substr(i.association_id, 1, length(:prefix)) = :prefix
    AND NOT EXISTS (SELECT 1 FROM associations a WHERE a.id = i.association_id)
GROUP BY i.association_id

-- name: to_compare
SELECT count(*) AS n FROM recompressed WHERE study_id = :study_id

-- name: announce_study
UPDATE studies SET announced_series = max(coalesce(announced_series, 0), :series),
    announced_instances = max(coalesce(announced_instances, 0), :instances)
WHERE id = :study_id AND (coalesce(announced_series, 0) < :series OR coalesce(announced_instances, 0) < :instances)

-- name: announce_series
UPDATE series SET announced_instances = :instances WHERE study_id = :study_id
    AND series_instance_uid = :series_instance_uid AND coalesce(announced_instances, 0) < :instances

-- name: set_waiting_for
UPDATE studies SET reason = :reason WHERE id = :study_id AND state = 'receiving'

-- name: set_correction
UPDATE studies SET correction = :correction, updated_at = :now WHERE id = :study_id

-- name: hold_outdated
-- Reads of a study that was corrected since its last revision: the next one replaces them when it is routed.
UPDATE jobs SET held = 1 WHERE study_id = :study_id AND state = 'waiting' AND EXISTS (
    SELECT 1 FROM studies s WHERE s.id = :study_id AND s.correction != '' AND json_extract(s.correction, '$.serial') IS NOT
        (SELECT json_extract(r.attributes, '$.correction.serial') FROM revisions r WHERE r.study_id = s.id
         ORDER BY r.number DESC LIMIT 1))

-- name: withdraw_all
-- What a person recalled stays so: it waits for a person when it is said again.
UPDATE outbox SET state = 'withdrawn', last_error = '',
    hold_reason = CASE WHEN hold_reason LIKE 'recalled %' THEN hold_reason ELSE 'withdrawn: ' || :why END
WHERE state IN ('pending', 'held')
    AND job_id IN (SELECT id FROM jobs WHERE study_id = :study_id)

-- name: confirm_header
UPDATE instances SET peer = :peer WHERE id = :instance_id

-- name: replace_header
UPDATE instances SET content_digest = :content_digest, pixel_digest = :pixel_digest, peer = :peer,
    instance_number = :instance_number, received_at = :received_at, association_id = :association_id, film = :film,
    removed_at = NULL
WHERE id = :instance_id

-- name: set_series
UPDATE series SET attributes = :attributes WHERE study_id = :study_id AND series_instance_uid = :series_instance_uid

-- name: patient_changed
-- A person who released or corrected the study since has decided.
SELECT 1 FROM events WHERE study_id = :study_id AND action = 'patient_changed' AND id > coalesce(
    (SELECT max(id) FROM events WHERE study_id = :study_id AND action IN ('released', 'corrected')), 0) LIMIT 1

-- name: senders
SELECT peer, count(*) AS n FROM instances WHERE study_id = :study_id AND role = 'source' GROUP BY peer

-- name: recompressed
SELECT r.path, i.path AS stored FROM recompressed r JOIN instances i ON i.id = r.instance_id
ORDER BY r.found_at, r.path LIMIT :limit

-- name: recompressed_instance
SELECT i.* FROM recompressed r JOIN instances i ON i.id = r.instance_id WHERE r.path = :path

-- name: add_recompressed
INSERT INTO recompressed (path, instance_id, study_id, peer, found_at)
VALUES (:path, :instance_id, :study_id, :peer, :now) ON CONFLICT DO NOTHING

-- name: forget_recompressed
DELETE FROM recompressed WHERE path = :path
