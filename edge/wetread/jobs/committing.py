"""What a finished read leaves behind, in the transaction that ends its job: results, outbox entries, comparisons."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from wetread.db import Queries, Row, Transaction, now
from wetread.records.job import JobOutcome


def commit_results(tx: Transaction, queries: Queries, row: Row, outcome: JobOutcome, data_folder: Path) -> None:
    """Record the results of job ``row``; a live one's go into the outbox of its destinations."""
    destinations = json.loads(row["destinations"]) if row["mode"] == "live" else ()
    for position, result in enumerate(outcome.results):
        path = result.path.relative_to(data_folder).as_posix()
        fields = dataclasses.asdict(result) | {"job_id": row["id"], "position": position, "path": path}
        tx.run(queries["add_result"], fields)
        for destination in destinations:
            entry = {"job_id": row["id"], "sop_instance_uid": result.sop_instance_uid, "destination": destination}
            tx.run(queries["put_in_outbox"], entry | {"now": now()})
    _compare_later(tx, queries, row)


def report_of(outcome: JobOutcome) -> str:
    """JSON of what the worker told besides its results."""
    return json.dumps(outcome.report(), ensure_ascii=False)


def _compare_later(tx: Transaction, queries: Queries, row: Row) -> None:
    """Each shadow read with the latest live read of the same series by every other route and bundle."""
    mine = _series(row["chosen"])
    others = tx.fetch(queries["reads_in_other_mode"], {"study_id": row["study_id"], "mode": row["mode"]})
    latest = {(o["route"], o["bundle_digest"]): o["id"] for o in others if _series(o["chosen"]) & mine}
    for other in latest.values():
        shadow, live = (row["id"], other) if row["mode"] == "shadow" else (other, row["id"])
        tx.run(queries["compare_later"], {"shadow_job_id": shadow, "live_job_id": live})


def _series(chosen: str) -> set[str]:
    return {series_instance_uid for _input, series_instance_uid, _reason in json.loads(chosen)}
