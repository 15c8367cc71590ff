"""The queue: jobs in the database, claimed by the coordinator, finished exactly once.

::

    waiting ──claim──▶ running ──▶ done | rejected | failed | cancelled
       ▲ │                │
       │ └─cancel─▶       │
       └──temporary error─┘      failed, rejected, cancelled ──retry by a person──▶ waiting

Every transition is one transaction with its row in the events table. A job that was running when the coordinator died
is waiting again after the next start: a read has no effect outside its own folder until ``finish`` commits it. What a
person asks for is in ``requests.py``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from wetread.db import Database, Queries, Row, Transaction, now
from wetread.jobs.committing import commit_results, renditions_to_encode, report_of
from wetread.jobs.enqueueing import add_job
from wetread.jobs.new_job import BUTTON, Chosen, NewJob, RouteDecision, chosen_from_json
from wetread.jobs.steady_clock import SteadyClock
from wetread.jobs.superseding import heed_policy, predecessors, settle, supersede
from wetread.records.job import JobOutcome, JobState, Prediction, ReadOptions
from wetread.records.result import Rendition, ReportRef

_DEADLY = frozenset({"worker-died", "worker-silent", "out-of-memory"})
"""What may have been the fault of other jobs on the machine, or may be theirs next: tried again alone."""
_NOT_ITS_FAULT = frozenset({"spool-unavailable", "memory-short"})
"""The machine had no room: the job waits until it has, however often that takes."""


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """``[jobs.retry]``: what happens after a temporary error (a worker that died, a full disk)."""

    max_attempts: Annotated[int, Ge(1)] = 3
    """Attempts before the job counts as failed and waits for a person."""
    first_delay_s: Annotated[float, Ge(0)] = 5.0
    """Wait before the second attempt; doubled for each further one."""

    def delay_s(self, attempts: int) -> float:
        """The wait after so many attempts."""
        return self.first_delay_s * 2.0 ** (attempts - 1)


@dataclass(frozen=True, slots=True)
class PrioritySettings:
    """``[jobs.priority]``: who comes first."""

    head_start_s: Annotated[float, Ge(0)] = 3600.0
    """A job goes before those of the next lower priority that have waited up to so much longer: urgent ones need not
    wait, and the others still come to their turn."""


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
    chosen: tuple[Chosen, ...]
    attempt: int
    """1 for the first one; never the same number twice for one job."""
    alone: bool = False
    """A worker died of it: no other job runs at the same time."""
    renditions: tuple[Rendition, ...] = (Rendition.COMMON,)
    """What its destinations take."""
    options: ReadOptions = ReadOptions()


class Queue:
    """All transitions of jobs that the coordinator makes."""

    def __init__(
        self,
        db: Database,
        settings: RetrySettings,
        *,
        owner: str,
        config_digest: str = "",
        priority: PrioritySettings = PrioritySettings(),
    ) -> None:
        self._db = db
        self._settings = settings
        self._owner = owner
        self._config_digest = config_digest
        self._head_start_days = priority.head_start_s / 86400.0
        self._queries = Queries("wetread.jobs")
        # What the last process queued must not come after what this one will, should the clock have been set back.
        self._clock = SteadyClock(not_before=db.fetch(self._queries["latest_due"])[0]["due"] or "")

    def asked_for(self, study_id: int) -> list[tuple[Path, str, ReadOptions]]:
        """Folder, digest and options of the bundles that people asked to read this study, of reads that still stand."""
        rows = self._db.fetch(self._queries["asked_for"], {"study_id": study_id, "route": BUTTON})
        return [(Path(r["bundle_folder"]), r["bundle_digest"], _options(r)) for r in rows]

    def enqueue(
        self,
        *,
        study_id: int,
        revision_id: int,
        decisions: Sequence[RouteDecision],
        still_wanted: Sequence[NewJob] = (),
    ) -> int:
        """Record what all routes said about a revision and make its jobs, in one transaction; how many new jobs.

        ``still_wanted``: what the reads that people asked for would read of this revision. Those that read something
        else are superseded; none is made for them, because nobody asked again.

        A read of the same input by the same bundle on the same route exists already: it is not done again.
        """
        made = 0
        with self._db.transaction() as tx:
            for decision in decisions:
                made += self._decide(tx, decision, study_id=study_id, revision_id=revision_id)
            if not decisions:
                tx.event("routed", "no route is configured", study_id=study_id)
            wanted = RouteDecision(BUTTON, "read", "", (), tuple(still_wanted))
            supersede(tx, self._queries, wanted, study_id=study_id, revision_id=revision_id)
            tx.run(self._queries["free_outdated"], {"study_id": study_id})
            tx.run(self._queries["set_routed"], {"revision_id": revision_id, "now": now()})
        return made

    def supersedes(self, job_id: str) -> tuple[ReportRef, ...]:
        """The delivered reports that the report of this job takes the place of."""
        return predecessors(self._db.fetch(self._queries["delivered_predecessors"], {"job_id": job_id}))

    def claim(self) -> ClaimedJob | None:
        """Take the job that is due first among those that may run now, or None.

        Passed over without being looked at: jobs that back off, of held studies, of paused routes and bundles.
        """
        self._wake()
        if not self._db.fetch(self._queries["next_job"], {"head_start_days": self._head_start_days}):
            return None  # an idle coordinator does not ask for the write lock
        with self._db.transaction() as tx:
            job_id = self._next(tx)
            if job_id is None:
                return None
            row = tx.fetch(self._queries["claim"], {"job_id": job_id, "owner": self._owner, "now": now()})[0]
            # A job retried by a person starts counting anew; its history does not.
            attempt = int(tx.fetch(self._queries["next_attempt"], {"job_id": job_id})[0]["n"])
            tx.run(self._queries["start_attempt"], {"job_id": job_id, "number": attempt, "now": now()})
            alone = ", alone" if row["alone"] else ""
            tx.event("claimed", f"attempt {attempt}{alone}", study_id=row["study_id"], job_id=job_id)
            renditions = renditions_to_encode(tx, self._queries, row)
        return dataclasses.replace(_claimed(row, attempt), renditions=renditions)

    def heartbeat(self, job_id: str, progress: str) -> None:
        """The worker is alive and this far."""
        with self._db.transaction() as tx:
            tx.run(self._queries["heartbeat"], {"job_id": job_id, "progress": progress, "now": now()})

    def predicted(self, job_id: str, prediction: Prediction | None) -> None:
        """What a running job will take, said before it starts; None: nothing is known yet."""
        fields = {
            "job_id": job_id,
            "predicted_mb": None if prediction is None else prediction.memory_mb,
            "predicted_s": None if prediction is None else prediction.seconds,
        }
        with self._db.transaction() as tx:
            tx.run(self._queries["set_prediction"], fields)
            row = tx.fetch(self._queries["job"], {"job_id": job_id})[0]
            detail = str(prediction) if prediction else "nothing is known yet of such a read on this machine"
            tx.event("predicted", detail, study_id=row["study_id"], job_id=job_id)

    def to_cancel(self) -> list[str]:
        """Running jobs whose end a person asked for."""
        return [row["id"] for row in self._db.fetch(self._queries["to_cancel"])]

    def finish(self, outcome: JobOutcome, *, data_folder: Path) -> None:
        """Record a job's end. Results and their outbox entries are committed together with it, or not at all.

        A temporary error puts the job back until its attempts are used up. A job whose end was asked for is cancelled,
        whatever its worker answered in the meantime.
        """
        with self._db.transaction() as tx:
            row = tx.fetch(self._queries["job"], {"job_id": outcome.job_id})[0]
            if row["state"] != JobState.RUNNING:
                return
            if row["cancel_asked"]:
                outcome = _cancelled(row)
            outcome = settle(tx, self._queries, row, outcome)
            self._end_attempt(tx, row["id"], outcome)
            if outcome.state is JobState.WAITING:
                self._wait_again(tx, row, outcome, delay_s=self._settings.delay_s(row["attempts"]))
                return
            self._finish(tx, row, outcome)
            if outcome.results:  # of a rejected study: the report that says so
                commit_results(tx, self._queries, row, outcome, data_folder)

    def recover(self) -> int:
        """At start-up: put every job back that was running when the last coordinator ended; how many."""
        with self._db.transaction() as tx:
            orphans = tx.fetch(self._queries["orphans"])
            for row in orphans:
                reason = "interrupted: the service ended while the job was running"
                outcome = JobOutcome(row["id"], JobState.WAITING, code="interrupted", reason=reason)
                self._interrupt(tx, row, outcome)
        return len(orphans)

    def put_back(self) -> int:
        """At an orderly stop: let running jobs wait for the next start; an interruption we chose costs no attempt."""
        with self._db.transaction() as tx:
            rows = tx.fetch(self._queries["orphans"])
            for row in rows:
                if row["cancel_asked"]:
                    self._interrupt(tx, row, _cancelled(row))
                    continue
                tx.run(self._queries["put_back"], {"job_id": row["id"], "now": now()})
                self._end_attempt(tx, row["id"], JobOutcome(row["id"], JobState.WAITING, code="stopped"))
                tx.event("put_back", "the service was stopped", study_id=row["study_id"], job_id=row["id"])
        return len(rows)

    def _wake(self) -> None:
        """Jobs whose back-off is over may run. So may those that would wait longer than any back-off lasts: the wall
        clock was set back since."""
        times = {"now": now(), "latest": now(self._settings.delay_s(self._settings.max_attempts))}
        awake = self._db.fetch(self._queries["overslept"], times)
        if awake:
            with self._db.transaction() as tx:
                tx.run_many(self._queries["wake"], [{"row": r["row"]} for r in awake])

    def _next(self, tx: Transaction) -> str | None:
        """The job to claim. One that must be alone waits for the others to end; meanwhile none is started beside it."""
        heads = tx.fetch(self._queries["next_job"], {"head_start_days": self._head_start_days})
        running = tx.fetch(self._queries["running"])[0]
        if not heads or running["alone"] or (heads[0]["alone"] and running["n"]):
            return None
        return str(heads[0]["id"])

    def _decide(self, tx: Transaction, asked: RouteDecision, *, study_id: int, revision_id: int) -> int:
        """Record what one route said, make its jobs, supersede those of earlier revisions; how many new jobs."""
        decision = heed_policy(tx, self._queries, asked, study_id=study_id, revision_id=revision_id)
        new = sum(bool(self._add(tx, job, study_id=study_id, revision_id=revision_id)) for job in decision.jobs)
        outcome, reason = decision.outcome, decision.reason
        if decision.jobs and not new and decision.outcome == "read":
            outcome, reason = "unchanged", "what the bundle chose was read before"
        fields = {
            "revision_id": revision_id,
            "route": decision.route,
            "outcome": outcome,
            "reason": reason,
            "verdicts": json.dumps(decision.verdicts, ensure_ascii=False),
        }
        tx.run(self._queries["add_decision"], fields)
        supersede(tx, self._queries, decision, study_id=study_id, revision_id=revision_id)
        tx.event("routed", f"route {decision.route}: {outcome}", study_id=study_id)
        return new

    def _add(self, tx: Transaction, job: NewJob, *, study_id: int, revision_id: int) -> str:
        return add_job(
            tx,
            self._queries,
            job,
            study_id=study_id,
            revision_id=revision_id,
            due=self._clock.now(),
            config_digest=self._config_digest,
        )

    def _interrupt(self, tx: Transaction, row: Row, outcome: JobOutcome) -> None:
        """End an attempt whose worker is gone with its coordinator."""
        if row["cancel_asked"]:
            outcome = _cancelled(row)
        self._end_attempt(tx, row["id"], outcome)
        if outcome.state is JobState.WAITING:
            self._wait_again(tx, row, outcome, delay_s=0.0)
        else:
            self._finish(tx, row, outcome)

    def _end_attempt(self, tx: Transaction, job_id: str, outcome: JobOutcome) -> None:
        fields = {"job_id": job_id, "outcome": outcome.code or outcome.state, "reason": outcome.reason, "now": now()}
        tx.run(self._queries["end_attempt"], fields)

    def _wait_again(self, tx: Transaction, row: Row, outcome: JobOutcome, *, delay_s: float) -> None:
        excused = outcome.code in _NOT_ITS_FAULT
        if row["attempts"] >= self._settings.max_attempts and not excused:
            reason = f"given up after {row['attempts']} attempts; the last: {outcome.reason}"
            self._finish(tx, row, dataclasses.replace(outcome, state=JobState.FAILED, reason=reason))
            return
        fields = {
            "job_id": row["id"],
            "code": outcome.code,
            "reason": outcome.reason,
            "available_at": now(delay_s),
            "backs_off": delay_s > 0.0,
            "alone": outcome.code in _DEADLY,
            "excused": excused,
        }
        tx.run(self._queries["wait_again"], fields)
        tx.event("retry_later", outcome.reason, study_id=row["study_id"], job_id=row["id"])

    def _finish(self, tx: Transaction, row: Row, outcome: JobOutcome) -> None:
        fields = {
            "job_id": row["id"],
            "state": outcome.state.value,
            "code": outcome.code,
            "reason": outcome.reason,
            "report": report_of(outcome),
            "now": now(),
        }
        tx.run(self._queries["finish"], fields)
        action = "read" if outcome.state is JobState.DONE else outcome.state.value
        tx.event(action, outcome.reason or str(outcome.engine or ""), study_id=row["study_id"], job_id=row["id"])


def _cancelled(row: Row) -> JobOutcome:
    if row["superseded_by"]:
        reason = f"superseded: job {row['superseded_by']} reads a newer revision"
        return JobOutcome(row["id"], JobState.CANCELLED, code="superseded", reason=reason)
    return JobOutcome(row["id"], JobState.CANCELLED, code="cancelled", reason="cancelled by a person")


def _claimed(row: Row, attempt: int) -> ClaimedJob:
    return ClaimedJob(
        job_id=row["id"],
        study_id=int(row["study_id"]),
        revision_id=int(row["revision_id"]),
        route=row["route"],
        bundle=row["bundle"],
        bundle_folder=Path(row["bundle_folder"]),
        bundle_digest=row["bundle_digest"],
        chosen=chosen_from_json(row["chosen"]),
        attempt=attempt,
        alone=bool(row["alone"]),
        options=_options(row),
    )


def _options(row: Row) -> ReadOptions:
    return ReadOptions(**json.loads(row["options"]))
