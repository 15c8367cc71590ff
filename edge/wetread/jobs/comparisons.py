"""Reads that are to be compared: what a shadow route says beside what a live one said of the same series."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from wetread.db import Database, Queries, now
from wetread.jobs.committing import reported_findings
from wetread.records.result import FindingSummary


@dataclass(frozen=True, slots=True)
class CommittedRead:
    """What a finished job committed."""

    job_id: str
    findings: tuple[FindingSummary, ...]
    segmentation: Path | None
    """Its SEG; none when nothing was segmented, or when retention removed it."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two reads to look at side by side."""

    shadow: CommittedRead
    live: CommittedRead


class Comparisons:
    """The list of comparisons that are still to be made."""

    def __init__(self, db: Database, data_folder: Path) -> None:
        self._db = db
        self._data_folder = data_folder
        self._queries = Queries("wetread.jobs")

    def next(self) -> Comparison | None:
        """One that is to be made, or None."""
        rows = self._db.fetch(self._queries["comparison_to_make"])
        if not rows:
            return None
        return Comparison(self._read(rows[0]["shadow_job_id"]), self._read(rows[0]["live_job_id"]))

    def record(self, comparison: Comparison, document: str) -> None:
        """It was made; ``document`` is JSON with ``structures`` or ``problem``."""
        fields = {"shadow_job_id": comparison.shadow.job_id, "live_job_id": comparison.live.job_id}
        with self._db.transaction() as tx:
            if not tx.run(self._queries["compared"], fields | {"document": document, "now": now()}):
                return  # erased meanwhile
            job = tx.fetch(self._queries["job"], {"job_id": comparison.shadow.job_id})[0]
            detail = f"with the live read, job {comparison.live.job_id}"
            tx.event("compared", detail, study_id=job["study_id"], job_id=job["id"])

    def _read(self, job_id: str) -> CommittedRead:
        report = json.loads(self._db.fetch(self._queries["job"], {"job_id": job_id})[0]["report"])
        results = self._db.fetch(self._queries["results_of_job"], {"job_id": job_id})
        segmentations = [self._data_folder / r["path"] for r in results if r["kind"] == "SEG"]
        return CommittedRead(job_id, reported_findings(report), segmentations[0] if segmentations else None)
