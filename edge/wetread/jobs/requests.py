"""What a person asks of the queue: retry, cancel, pause, resume. The coordinator finds it in the database.

The command that asks may run in another process: every request is one transaction, and the coordinator looks for it
in each of its rounds. A pause is a row, not a change of jobs: it takes effect with the next claim and the next look of
a destination, however many jobs wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wetread.db import Database, Queries, now
from wetread.errors import Conflict, Misconfigured, NotHere
from wetread.jobs.enqueueing import add_job
from wetread.jobs.new_job import NewJob

PauseKind = Literal["all", "route", "bundle"]


@dataclass(frozen=True, slots=True)
class Pause:
    """What a person stopped: nothing of it is read or sent; reception goes on."""

    kind: PauseKind
    name: str
    """Of the route or bundle; '' for all."""
    reason: str
    since: str
    """ISO 8601, UTC."""

    def __str__(self) -> str:
        return "everything" if self.kind == "all" else f"{self.kind} {self.name}"


class Requests:
    """Changes a person makes to the queue."""

    def __init__(self, db: Database, who: str = "a person") -> None:
        """``who``: stands in the events."""
        self._db = db
        self._who = who
        self._queries = Queries("wetread.jobs")

    def retry(self, job_id: str) -> None:
        """Let a job that ended without a result be done again; its attempts so far stay in its history.

        Raises: ``Misconfigured`` if it cannot be.
        """
        with self._db.transaction() as tx:
            rows = tx.fetch(self._queries["job"], {"job_id": job_id})
            if not rows:
                raise NotHere(f"no job {job_id}")
            if not tx.run(self._queries["retry"], {"job_id": job_id, "now": now()}):
                raise Misconfigured(
                    f"job {job_id} is {rows[0]['state']}: only a failed, rejected or cancelled job can be retried"
                )
            tx.event("retry", f"by {self._who}", study_id=rows[0]["study_id"], job_id=job_id)

    def ask(self, job: NewJob, *, study_id: int, revision_id: int, config_digest: str = "") -> tuple[str, bool]:
        """A read that a person wants: its job's id, and whether it has to be done.

        A read of the same input by the same bundle is not done twice, whoever asked for it: one that waits comes
        sooner, one that failed or was cancelled is done again.
        """
        key = {"study_id": study_id, "bundle_digest": job.bundle_digest, "input_digest": job.input_digest}
        with self._db.transaction() as tx:
            for row in tx.fetch(self._queries["read_that_exists"], key):
                if row["state"] in ("failed", "cancelled"):
                    tx.run(self._queries["retry"], {"job_id": row["id"], "now": now()})
                    tx.event("retry", f"by {job.asked_by}", study_id=study_id, job_id=row["id"])
                tx.run(self._queries["hurry"], {"job_id": row["id"], "priority": job.priority})
                return str(row["id"]), row["state"] in ("failed", "cancelled")
            latest = tx.fetch(self._queries["latest_due"])[0]["due"] or ""
            where = {"study_id": study_id, "revision_id": revision_id}
            job_id = add_job(tx, self._queries, job, **where, due=max(now(), latest), config_digest=config_digest)
            if not job_id:
                raise Conflict("this read was asked for before and is superseded; look at the study again")
            return job_id, True

    def cancel(self, job_id: str) -> None:
        """Take a waiting job out of the queue, or ask the coordinator to end a running one.

        Raises: ``Misconfigured`` if it is neither.
        """
        key = {"job_id": job_id}
        with self._db.transaction() as tx:
            rows = tx.fetch(self._queries["job"], key)
            if not rows:
                raise NotHere(f"no job {job_id}")
            where = {"study_id": rows[0]["study_id"], "job_id": job_id}
            if tx.run(self._queries["cancel"], key | {"now": now()}):
                tx.event("cancelled", f"by {self._who}", **where)
            elif tx.run(self._queries["ask_cancel"], key):
                tx.event("cancel_asked", f"by {self._who}, while it runs", **where)
            else:
                state = rows[0]["state"]
                raise Conflict(f"job {job_id} is {state}: only a waiting or running job can be cancelled")

    def pause(self, kind: PauseKind, name: str, reason: str) -> None:
        """Read and send nothing of it until ``resume``. What runs now ends; its results wait."""
        with self._db.transaction() as tx:
            tx.run(self._queries["pause"], {"kind": kind, "name": name, "reason": reason, "now": now()})
            tx.event("paused", f"{Pause(kind, name, reason, '')}, by {self._who}", said=reason)

    def resume(self, kind: PauseKind, name: str, reason: str = "") -> None:
        """Let it go on. Raises: ``Misconfigured`` when it is not paused; names what is."""
        with self._db.transaction() as tx:
            if not tx.run(self._queries["resume"], {"kind": kind, "name": name}):
                paused = ", ".join(map(str, self.pauses())) or "nothing"
                raise Misconfigured(f"{Pause(kind, name, '', '')} is not paused; paused: {paused}")
            tx.event("resumed", f"{Pause(kind, name, '', '')}, by {self._who}", said=reason)

    def pauses(self) -> tuple[Pause, ...]:
        """What is paused now."""
        return tuple(
            Pause(r["kind"], r["name"], r["reason"], r["since"]) for r in self._db.fetch(self._queries["pauses"])
        )
