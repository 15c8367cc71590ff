-- name: key
SELECT key FROM learning_key

-- name: set_key
INSERT INTO learning_key (id, key) VALUES (1, :key)

-- name: signed_reads
SELECT j.id, j.study_id, j.route, j.bundle, j.bundle_folder, j.report, r.attributes, o.signed_at, i.document AS input
FROM sign_offs o
JOIN jobs j ON j.id = o.job_id
JOIN revisions r ON r.id = j.revision_id
JOIN studies s ON s.id = j.study_id
LEFT JOIN read_inputs i ON i.job_id = j.id
WHERE o.superseded_at = '' AND j.superseded_at = '' AND j.mode = 'live' AND s.state != 'held'
    AND o.signed_at >= :since AND (:route = '' OR j.route = :route)
ORDER BY o.signed_at, j.id

-- name: instance
SELECT path, sop_class_uid, instance_number, content_digest, removed_at FROM instances
WHERE study_id = :study_id AND sop_instance_uid = :sop_instance_uid

-- name: label_map
SELECT path, sha256 FROM result_files WHERE job_id = :job_id AND kind = 'labels'

-- name: withdrawn
SELECT pseudonym FROM learning_withdrawals

-- name: withdraw
INSERT INTO learning_withdrawals (pseudonym, kind, withdrawn_at, withdrawn_by) VALUES (:pseudonym, :kind, :now, :who)
ON CONFLICT (pseudonym) DO NOTHING

-- name: add_export
INSERT INTO learning_exports (id, bundle, folder, made_at, made_by) VALUES (:id, :bundle, :folder, :made_at, :made_by)

-- name: add_case
INSERT INTO learning_cases (export_id, name, patient, study) VALUES (:export_id, :name, :patient, :study)

-- name: cases_of
SELECT c.export_id, c.name, c.removed_at, e.folder, e.bundle FROM learning_cases c
JOIN learning_exports e ON e.id = c.export_id WHERE c.patient = :pseudonym OR c.study = :pseudonym
ORDER BY e.made_at, c.name

-- name: case_removed
UPDATE learning_cases SET removed_at = :now WHERE export_id = :export_id AND name = :name

-- name: exports
SELECT e.id, e.bundle, e.folder, e.made_at, e.made_by, count(c.name) AS cases, count(DISTINCT c.patient) AS patients,
    count(CASE WHEN c.removed_at != '' THEN 1 END) AS removed
FROM learning_exports e LEFT JOIN learning_cases c ON c.export_id = e.id GROUP BY e.id ORDER BY e.made_at

-- name: studies_of_patient
SELECT DISTINCT s.study_instance_uid FROM revisions r JOIN studies s ON s.id = r.study_id
WHERE trim(r.attributes ->> '$.patient.patient_id') = :patient_id

-- name: study_id
SELECT id FROM studies WHERE study_instance_uid = :study_instance_uid
