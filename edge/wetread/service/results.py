"""Results and where they went: what ``wetread results`` shows, and what can be done about what left the house."""

from __future__ import annotations

from wetread.config import Config
from wetread.db import Database, Queries
from wetread.deliver.decisions import AtDestination
from wetread.records.numbers import number_of
from wetread.service.overview import Document


class ResultsOverview:
    """Questions about the outbox; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._queries = Queries("wetread.service")

    def jobs(self, *, state: str = "", study: str = "", limit: int = 100) -> list[Document]:
        """The latest jobs with results to send, one entry for each destination."""
        key = {"state": state, "study": study, "limit": limit}
        return [dict(row) for row in self._db.fetch(self._queries["deliveries_of_jobs"], key)]

    def of_job(self, job_id: str) -> list[Document]:
        """Every object of a job at every destination."""
        return [dict(row) for row in self._db.fetch(self._queries["deliveries"], {"job_id": job_id})]

    def destinations(self, config: Config) -> list[Document]:
        """Every configured destination: its rendition, what waits for it, when it is tried again and why."""
        rows = {row["destination"]: dict(row) for row in self._db.fetch(self._queries["destinations"])}
        nothing = {"rendition": "", "decided_by": "", "decided_at": None}
        counts = {row["destination"]: dict(row) for row in self._db.fetch(self._queries["waiting_for"])}
        none = {"pending": 0, "refused": 0, "held": 0, "tried_next_at": None, "last_error": None}
        return [
            {"destination": d.name, "kind": d.kind, **rows.get(d.name, nothing), **counts.get(d.name, none)}
            for d in config.destinations
        ]


def what_can_be_done(there: AtDestination, config: Config) -> str:
    """One sentence about objects that a destination has already: what we cannot do, and who can do what."""
    settings = next((d for d in config.destinations if d.name == there.destination), None)
    what = f"{number_of(len(there.sop_instance_uids), 'object')} of series {there.series_instance_uid}"
    if settings is None:
        return f"{there.destination} is no longer configured; {what} went there"
    if settings.kind == "folder":
        files = ", ".join(f"{uid}.dcm" for uid in there.sop_instance_uids)
        return f"{what} lie in {settings.path} and can be deleted there, if nobody took them on: {files}"
    return (
        f"{what} are in {there.destination}. DICOM has no message to take them back: ask its administrator to delete or"
        " hide that series, and tell whoever may have read it. The objects say that they are not verified"
    )
