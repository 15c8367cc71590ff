"""Look at what there is: studies, jobs, timelines. Reads the database and changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wetread.db import Database, Queries, Row
from wetread.errors import Misconfigured, NotHere
from wetread.service.documents import stored_read
from wetread.store.revisions import corrected_attributes

Document = dict[str, Any]
"""JSON for ``--json``; the commands print the same fields as tables."""


class Overview:
    """Questions about one data folder."""

    def __init__(self, data_dir: Path) -> None:
        """Raises: ``Misconfigured`` when nothing was ever served from there."""
        path = data_dir / "wetread.db"
        if not path.is_file():
            raise Misconfigured(f"there is no Wetread database in {data_dir}; has wetread serve run with it?")
        self._db = Database(path)
        self._queries = Queries("wetread.service")

    def studies(
        self, *, state: str = "", patient_id: str = "", accession_number: str = "", uid: str = "", limit: int = 100
    ) -> list[Document]:
        """The latest studies with their state and its reason: in one state, of one patient or order if asked for."""
        fields = {"state": state, "patient_id": patient_id, "accession_number": accession_number, "limit": limit}
        fields["uid"] = uid
        return [_study(row) for row in self._db.fetch(self._queries["studies"], fields)]

    def uid_of(self, study: str) -> str:
        """The Study Instance UID of a study that is named by it, or by the number that lists and the log show.

        Raises: ``Misconfigured`` when there is no study with that number.
        """
        if not study.strip():
            raise Misconfigured("say which study: its Study Instance UID, or the number that studies list shows")
        if not re.fullmatch(r"[0-9]{1,10}", study):
            return study
        rows = self._db.fetch(self._queries["study_by_number"], {"number": int(study)})
        if not rows:
            raise Misconfigured(f"there is no study {study} here; see: wetread studies list")
        return str(rows[0]["study_instance_uid"])

    def study(self, study_instance_uid: str) -> Document:
        """One study with series, decisions, jobs and timeline. Raises: ``Misconfigured`` if it is not here."""
        rows = self._db.fetch(self._queries["study"], {"study_instance_uid": study_instance_uid})
        if not rows:
            raise NotHere(f"no study {study_instance_uid} here; see: wetread studies list")
        key = {"study_id": rows[0]["id"]}
        return {
            **_study(rows[0]),
            "patient": json.loads(corrected_attributes(rows[0]))["patient"],
            "revisions": _dicts(self._db.fetch(self._queries["revisions"], key)),
            "series": [_series(r) for r in self._db.fetch(self._queries["series"], key)],
            "decisions": [_decision(r) for r in self._db.fetch(self._queries["decisions"], key)],
            "jobs": [_job(r) for r in self._db.fetch(self._queries["jobs_of_study"], key)],
            "timeline": _dicts(self._db.fetch(self._queries["timeline"], key)),
        }

    def study_state(self, study_instance_uid: str) -> str:
        """The state of a study; '' when it is not here."""
        rows = self._db.fetch(self._queries["study"], {"study_instance_uid": study_instance_uid})
        return str(rows[0]["state"]) if rows else ""

    def jobs(
        self, *, state: str = "", route: str = "", study: str = "", since: str = "", limit: int = 100
    ) -> list[Document]:
        """The latest jobs: of one state, route or study if asked for, made since an ISO 8601 time.

        With what a person knows their studies by: number, accession number, description and patient ID.
        """
        query = "jobs_of_one_study" if study else "jobs_in_state" if state else "jobs"
        fields = {"state": state, "route": route, "study": study, "since": since, "limit": limit}
        return [_job(r) | _order(r) for r in self._db.fetch(self._queries[query], fields)]

    def jobs_by_route(self) -> dict[str, dict[str, int]]:
        """For each route that ever made a job: how many are in each state, and ``to_send``, objects in the outbox."""
        counts: dict[str, dict[str, int]] = {}
        for row in self._db.fetch(self._queries["jobs_by_route"]):
            counts.setdefault(row["route"], {})[row["state"]] = row["n"]
        for row in self._db.fetch(self._queries["held_back"]):
            counts[row["route"]]["to_send"] = row["n"]
        return counts

    def job(self, job_id: str) -> Document:
        """One job, by its id or the beginning of it, with attempts, results and deliveries.

        Raises: ``Misconfigured`` if none or several begin so.
        """
        if not re.fullmatch(r"[0-9A-Za-z]+", job_id):
            raise Misconfigured(f"{job_id!r} is no job id, nor the beginning of one; see: wetread jobs list")
        rows = self._db.fetch(self._queries["job"], {"prefix": job_id + "*"})
        if len(rows) != 1:
            found = "no job" if not rows else f"{len(rows)} jobs begin with"
            raise NotHere(f"{found} {job_id}; see: wetread jobs list")
        key = {"job_id": rows[0]["id"]}
        return {
            **_job(rows[0]),
            **stored_read(json.loads(rows[0]["report"]), self._chosen(rows[0]), self._series_of(rows[0])),
            "attempts_made": _dicts(self._db.fetch(self._queries["attempts"], key)),
            **self._review(key),
            "comparisons": [_comparison(r) for r in self._db.fetch(self._queries["comparisons"], key)],
            "results": _dicts(self._db.fetch(self._queries["results"], key)),
            "deliveries": _dicts(self._db.fetch(self._queries["deliveries"], key)),
        }

    def _review(self, key: Document) -> Document:
        """Who signed, and whether the study has changed since."""
        for row in self._db.fetch(self._queries["sign_off"], key):
            return {
                "signed_by": row["reader"],
                "signed_for": row["organization"],
                "signed_at": row["signed_at"],
                "signed_superseded_at": row["superseded_at"],
            }
        return {}

    def _chosen(self, row: Row) -> Document:
        return dict(row) | {"chosen": json.loads(row["chosen"])}

    def _series_of(self, row: Row) -> list[Document]:
        return [_series(r) for r in self._db.fetch(self._queries["series"], {"study_id": row["study_id"]})]

    def unreadable(self) -> list[Document]:
        """Acknowledged instances that could not be read afterwards."""
        return _dicts(self._db.fetch(self._queries["unreadable"]))

    def refusals(self, *, limit: int = 1000) -> list[Document]:
        """Who was refused, the latest first, with reason, hint and how often."""
        return _dicts(self._db.fetch(self._queries["refusals"], {"limit": limit}))

    def last_sent(self) -> dict[str, str]:
        """When each peer's last association that brought instances ended."""
        return {r["peer"]: r["last_at"] for r in self._db.fetch(self._queries["last_sent"])}

    def counts(self) -> dict[str, int]:
        """How many studies are in each state."""
        return {r["state"]: r["n"] for r in self._db.fetch(self._queries["counts"])}


def _study(row: Row) -> Document:
    attributes = json.loads(corrected_attributes(row))
    correction = attributes.get("correction") or {}
    return {
        "number": row["id"],
        "study_instance_uid": row["study_instance_uid"],
        "patient_id": attributes["patient"]["patient_id"],
        "accession_number": attributes["accession_number"],
        "description": attributes["description"],
        "date": attributes["date"],
        "corrected": ", ".join(k for k, v in correction.items() if v is not None and k != "serial"),
        "instances": row["instances"],
        "revision": row["revision"],
        "state": row["state"],
        "reason": row["reason"],
        "received_at": row["created_at"],
    }


def _series(row: Row) -> Document:
    attributes = json.loads(row["attributes"])
    return {
        "series_instance_uid": attributes["series_instance_uid"],
        "number": attributes["number"],
        "modality": attributes["modality"],
        "description": attributes["description"],
        "role": row["role"],
        "instances": row["instances"],
    }


def _decision(row: Row) -> Document:
    return {**dict(row), "verdicts": json.loads(row["verdicts"])}


def _comparison(row: Row) -> Document:
    """``structures`` and ``problem`` come from the stored document; before it is made they are absent."""
    document = json.loads(row["document"] or "{}")
    return {key: row[key] for key in ("shadow_job_id", "live_job_id", "compared_at")} | document


def _job(row: Row) -> Document:
    shown = (
        "id study_instance_uid route mode bundle bundle_version state priority attempts alone cancel_asked progress"
        " code reason predicted_mb predicted_s created_at available_at finished_at send asked_by superseded_by"
        " superseded_at"
    )
    return {key: row[key] for key in shown.split()} | {key: bool(row[key]) for key in ("alone", "cancel_asked")}


def _order(row: Row) -> Document:
    study = json.loads(corrected_attributes(row))
    return {
        "study_number": row["study_id"],
        "accession_number": study["accession_number"],
        "description": study["description"],
        "patient_id": study["patient"]["patient_id"],
    }


def _dicts(rows: Iterable[Row]) -> list[Document]:
    return [dict(row) for row in rows]
