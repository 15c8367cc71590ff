"""How far a read is: stage, percent, place in the queue, and when it will be done as far as one can say."""

from __future__ import annotations

import json
import re
import statistics
from datetime import UTC, datetime
from typing import Any

from wetread.db import Database, Queries, Row
from wetread.errors import NotHere

Document = dict[str, Any]

FINAL = frozenset({"done", "rejected", "failed", "cancelled"})
"""States after which nothing comes."""

_STAGE = re.compile(r"(\w+) (\d+)%")
_LAST_READS = 20


class Progress:
    """Questions about jobs of one data folder."""

    def __init__(self, db: Database, *, head_start_s: float) -> None:
        self._db = db
        self._head_start_days = head_start_s / 86400.0
        self._queries = Queries("wetread.service")

    def of(self, job_id: str) -> Document:
        """``state, stage, percent, queue_place, eta_s, code, reason``. Raises: ``NotHere``."""
        key = {"job_id": job_id, "head_start_days": self._head_start_days}
        rows = self._db.fetch(self._queries["progress"], key)
        if not rows:
            raise NotHere(f"no job {job_id}; see: wetread jobs list")
        row = rows[0]
        found = _STAGE.fullmatch(row["progress"]) if row["state"] == "running" else None
        # A running read that waits for memory says why instead of a stage.
        waits = row["progress"] if row["state"] == "running" and not found else ""
        return {
            "state": row["state"],
            "stage": found[1] if found else "",
            "percent": int(found[2]) if found else 100 if row["state"] == "done" else 0,
            "queue_place": None if row["ahead"] is None else int(row["ahead"]) + 1,
            "eta_s": self._eta_s(row),
            "code": row["code"],
            "reason": row["reason"] or waits or ("is being cancelled" if row["cancel_asked"] else ""),
        }

    def _eta_s(self, row: Row) -> float | None:
        """What is left of the predicted time, or of what such a read usually takes; None where nothing is known.

        For a read that waits: its own time for each of those ahead, too.
        """
        if row["state"] in FINAL:
            return 0.0
        takes_s = row["predicted_s"] or self._usual_s(row["bundle"])
        if takes_s is None:
            return None
        if row["state"] == "waiting":
            return round(float(takes_s) * (int(row["ahead"]) + 1), 0)
        passed_s = (datetime.now(UTC) - datetime.fromisoformat(row["started_at"])).total_seconds()
        return round(max(0.0, float(takes_s) - passed_s), 0)

    def _usual_s(self, bundle: str) -> float | None:
        rows = self._db.fetch(self._queries["reports_of_bundle"], {"bundle": bundle, "limit": _LAST_READS})
        seconds = [sum(t["seconds"] for t in json.loads(r["report"]).get("timings", ())) for r in rows]
        return statistics.median(seconds) if seconds else None
