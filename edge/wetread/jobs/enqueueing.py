"""A new row in the queue."""

from __future__ import annotations

import dataclasses
import json
import uuid

from wetread.db import Queries, Transaction, now
from wetread.jobs.new_job import NewJob


def add_job(
    tx: Transaction, queries: Queries, job: NewJob, *, study_id: int, revision_id: int, due: str, config_digest: str
) -> str:
    """Queue a job; its id, or '' when the same read of the study on its route exists."""
    job_id = uuid.uuid4().hex[:12]
    fields = dataclasses.asdict(job) | {
        "id": job_id,
        "study_id": study_id,
        "revision_id": revision_id,
        "destinations": json.dumps(job.destinations),
        "bundle_folder": str(job.bundle_folder),
        "chosen": json.dumps(job.chosen, ensure_ascii=False),
        "options": json.dumps(dataclasses.asdict(job.options), ensure_ascii=False),
        "config_digest": config_digest,
        "due": due,
        "now": now(),
    }
    if not tx.run(queries["enqueue"], fields):
        return ""
    asked = f", asked for by {job.asked_by}" if job.asked_by else ""
    detail = f"route {job.route}, bundle {job.bundle} {job.bundle_version}, {job.mode}{asked}"
    tx.event("queued", detail, study_id=study_id, job_id=job_id)
    return job_id
