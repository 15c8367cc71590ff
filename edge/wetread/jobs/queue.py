"""The queue: jobs in the database, claimed by the coordinator, finished exactly once.

::

    waiting ──claim──▶ running ──▶ done | rejected | failed
       ▲                  │
       └──temporary error─┘      failed, rejected, cancelled ──retry by a person──▶ waiting

Every transition is one transaction with its row in the events table. A job that was running when the coordinator died
is waiting again after the next start: a read has no effect outside its own folder until ``finish`` commits it.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from wetread.db import Database, Queries, Row, Transaction, now
from wetread.errors import Misconfigured
from wetread.records.job import JobOutcome, JobState


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """``[jobs.retry]``: what happens after a temporary error (a worker that died, a full disk)."""

    max_attempts: Annotated[int, Ge(1)] = 3
    """Attempts before the job counts as failed and waits for a person."""
    first_delay_s: Annotated[float, Ge(0)] = 5.0
    """Wait before the second attempt; doubled for each further one."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """One read to be done."""

    route: str
    mode: str
    destinations: tuple[str, ...]
    bundle: str
    bundle_version: str
    bundle_digest: str
    bundle_folder: Path
    chosen: tuple[tuple[str, str, str], ...]
    """``(input name, Series Instance UID, reason)``."""
    input_digest: str


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """What a route said about a revision, and the jobs that follow from it."""

    route: str
    outcome: str
    reason: str
    verdicts: tuple[str, ...]
    jobs: tuple[NewJob, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job this coordinator is responsible for."""

    job_id: str
    study_id: int
    revision_id: int
    route: str
    bundle: str
    bundle_folder: Path
    bundle_digest: str
    chosen: tuple[tuple[str, str, str], ...]
    attempt: int
    """1 for the first one; never the same number twice for one job."""


class Queue:
    """All transitions of jobs."""

    def __init__(self, db: Database, settings: RetrySettings, *, owner: str, config_digest: str = "") -> None:
        self._db = db
        self._settings = settings
        self._owner = owner
        self._config_digest = config_digest
        self._queries = Queries("wetread.jobs")

    def enqueue(self, *, study_id: int, revision_id: int, decisions: Sequence[RouteDecision]) -> int:
        """Record what all routes said about a revision and make its jobs, in one transaction; how many new jobs.

        A read of the same input by the same bundle on the same route exists already: it is not done again.
        """
        made = 0
        with self._db.transaction() as tx:
            for decision in decisions:
                new = sum(self._add(tx, study_id, revision_id, job) for job in decision.jobs)
                made += new
                outcome, reason = decision.outcome, decision.reason
                if decision.jobs and not new:
                    outcome, reason = "unchanged", "what the bundle chose was read before"
                fields = {
                    "revision_id": revision_id,
                    "route": decision.route,
                    "outcome": outcome,
                    "reason": reason,
                    "verdicts": json.dumps(decision.verdicts, ensure_ascii=False),
                }
                tx.run(self._queries["add_decision"], fields)
                tx.event("routed", f"route {decision.route}: {outcome}", study_id=study_id)
            if not decisions:
                tx.event("routed", "no route is configured", study_id=study_id)
            tx.run(self._queries["set_routed"], {"revision_id": revision_id, "now": now()})
        return made

    def claim(self) -> ClaimedJob | None:
        """Take the job that has waited longest, or None."""
        with self._db.transaction() as tx:
            rows = tx.fetch(self._queries["claim"], {"owner": self._owner, "now": now()})
            if not rows:
                return None
            row = rows[0]
            attempt = self._next_attempt(tx, row)
            tx.run(self._queries["start_attempt"], {"job_id": row["id"], "number": attempt, "now": now()})
            tx.event("claimed", f"attempt {attempt}", study_id=row["study_id"], job_id=row["id"])
        return _claimed(row, attempt)

    def heartbeat(self, job_id: str, progress: str) -> None:
        """The worker is alive and this far."""
        with self._db.transaction() as tx:
            tx.run(self._queries["heartbeat"], {"job_id": job_id, "progress": progress, "now": now()})

    def finish(self, outcome: JobOutcome, *, data_folder: Path) -> None:
        """Record a job's end. Results and their outbox entries are committed together with it, or not at all.

        A temporary error puts the job back until its attempts are used up.
        """
        with self._db.transaction() as tx:
            row = tx.fetch(self._queries["job"], {"job_id": outcome.job_id})[0]
            if row["state"] != JobState.RUNNING:
                return
            self._end_attempt(tx, row["id"], outcome)
            if outcome.state is JobState.WAITING:
                self._wait_again(tx, row, outcome)
                return
            self._finish(tx, row, outcome)
            if outcome.state is JobState.DONE:
                self._commit_results(tx, row, outcome, data_folder)

    def recover(self) -> int:
        """At start-up: put every job back that was running when the last coordinator ended; how many."""
        with self._db.transaction() as tx:
            orphans = tx.fetch(self._queries["orphans"])
            for row in orphans:
                reason = "interrupted: the service ended while the job was running"
                outcome = JobOutcome(row["id"], JobState.WAITING, code="interrupted", reason=reason)
                self._end_attempt(tx, row["id"], outcome)
                self._wait_again(tx, row, outcome, delay_s=0.0)
        return len(orphans)

    def put_back(self) -> int:
        """At an orderly stop: let running jobs wait for the next start; an interruption we chose costs no attempt."""
        with self._db.transaction() as tx:
            rows = tx.fetch(self._queries["put_back"], {"now": now()})
            for row in rows:
                self._end_attempt(tx, row["id"], JobOutcome(row["id"], JobState.WAITING, code="stopped"))
                tx.event("put_back", "the service was stopped", study_id=row["study_id"], job_id=row["id"])
        return len(rows)

    def retry(self, job_id: str) -> None:
        """Let a job that ended without a result be done again. Raises: ``Misconfigured`` if it cannot be."""
        self._by_person("retry", job_id, "waiting again", "only a failed, rejected or cancelled job can be retried")

    def cancel(self, job_id: str) -> None:
        """Take a waiting job out of the queue. Raises: ``Misconfigured`` if it is not waiting."""
        self._by_person("cancel", job_id, "cancelled", "only a waiting job can be cancelled")

    def _by_person(self, query: str, job_id: str, done: str, otherwise: str) -> None:
        with self._db.transaction() as tx:
            rows = tx.fetch(self._queries["job"], {"job_id": job_id})
            if not rows:
                raise Misconfigured(f"no job {job_id}")
            if not tx.run(self._queries[query], {"job_id": job_id, "now": now()}):
                raise Misconfigured(f"job {job_id} is {rows[0]['state']}: {otherwise}")
            tx.event(query, f"{done} by a person", study_id=rows[0]["study_id"], job_id=job_id)

    def _add(self, tx: Transaction, study_id: int, revision_id: int, job: NewJob) -> int:
        fields = dataclasses.asdict(job)
        fields |= {
            "id": uuid.uuid4().hex[:12],
            "study_id": study_id,
            "revision_id": revision_id,
            "destinations": json.dumps(job.destinations),
            "bundle_folder": str(job.bundle_folder),
            "chosen": json.dumps(job.chosen, ensure_ascii=False),
            "config_digest": self._config_digest,
            "now": now(),
        }
        return tx.run(self._queries["enqueue"], fields)

    def _next_attempt(self, tx: Transaction, row: Row) -> int:
        # A job retried by a person starts counting anew; its history does not.
        statement = "SELECT coalesce(max(number), 0) + 1 AS n FROM attempts WHERE job_id = :job_id"
        return int(tx.fetch(statement, {"job_id": row["id"]})[0]["n"])

    def _end_attempt(self, tx: Transaction, job_id: str, outcome: JobOutcome) -> None:
        fields = {"job_id": job_id, "outcome": outcome.code or outcome.state, "reason": outcome.reason, "now": now()}
        tx.run(self._queries["end_attempt"], fields)

    def _wait_again(self, tx: Transaction, row: Row, outcome: JobOutcome, delay_s: float | None = None) -> None:
        if row["attempts"] >= self._settings.max_attempts:
            given_up = dataclasses.replace(
                outcome,
                state=JobState.FAILED,
                reason=f"given up after {row['attempts']} attempts; the last: {outcome.reason}",
            )
            self._finish(tx, row, given_up)
            return
        if delay_s is None:
            delay_s = self._settings.first_delay_s * 2 ** (row["attempts"] - 1)
        fields = {"job_id": row["id"], "code": outcome.code, "reason": outcome.reason, "available_at": now(delay_s)}
        tx.run(self._queries["wait_again"], fields)
        tx.event("retry_later", outcome.reason, study_id=row["study_id"], job_id=row["id"])

    def _finish(self, tx: Transaction, row: Row, outcome: JobOutcome) -> None:
        report = {
            "findings": [dataclasses.asdict(f) for f in outcome.findings],
            "timings": [{"stage": t.stage, "seconds": round(t.seconds, 3)} for t in outcome.timings],
            "peak_memory_mb": round(outcome.peak_memory_mb),
            "engine": outcome.engine,
            "driven": outcome.driven,
            "warnings": outcome.warnings,
        }
        fields = {
            "job_id": row["id"],
            "state": outcome.state.value,
            "code": outcome.code,
            "reason": outcome.reason,
            "report": json.dumps(report, ensure_ascii=False),
            "now": now(),
        }
        tx.run(self._queries["finish"], fields)
        action = "read" if outcome.state is JobState.DONE else outcome.state.value
        tx.event(action, outcome.reason or outcome.engine, study_id=row["study_id"], job_id=row["id"])

    def _commit_results(self, tx: Transaction, row: Row, outcome: JobOutcome, data_folder: Path) -> None:
        superseded = {key: row[key] for key in ("study_id", "route", "bundle", "revision_id")}
        withdrawn = tx.run(self._queries["withdraw_superseded"], superseded)
        if withdrawn:
            detail = f"{withdrawn} objects of an earlier revision, not delivered yet"
            tx.event("withdrawn", detail, study_id=row["study_id"], job_id=row["id"])
        for position, result in enumerate(outcome.results):
            fields = dataclasses.asdict(result)
            fields |= {
                "job_id": row["id"],
                "position": position,
                "path": result.path.relative_to(data_folder).as_posix(),
            }
            tx.run(self._queries["add_result"], fields)
            for destination in json.loads(row["destinations"]) if row["mode"] == "live" else ():
                fields = {
                    "job_id": row["id"],
                    "sop_instance_uid": result.sop_instance_uid,
                    "destination": destination,
                    "now": now(),
                }
                tx.run(self._queries["put_in_outbox"], fields)


def _claimed(row: Row, attempt: int) -> ClaimedJob:
    return ClaimedJob(
        job_id=row["id"],
        study_id=int(row["study_id"]),
        revision_id=int(row["revision_id"]),
        route=row["route"],
        bundle=row["bundle"],
        bundle_folder=Path(row["bundle_folder"]),
        bundle_digest=row["bundle_digest"],
        chosen=tuple((c[0], c[1], c[2]) for c in json.loads(row["chosen"])),
        attempt=attempt,
    )
