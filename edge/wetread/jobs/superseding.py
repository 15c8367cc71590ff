"""What a new revision does to the reads of older ones: late instances, corrected attributes.

A read whose input the newest revision does not want any more is superseded: if it waits it is cancelled, if it runs it
is stopped, if its results were not delivered they are withdrawn once those of its successor are there. A report that
was delivered is named as predecessor by the one that takes its place (PS3.3 C.17.2). All of it happens in the
transaction that makes or ends a job, so no two half reads are ever delivered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wetread.db import Queries, Row, Transaction, now
from wetread.jobs.new_job import NewJob, RouteDecision, places
from wetread.records.job import JobOutcome, JobState
from wetread.records.numbers import number_of
from wetread.records.result import ReportRef


@dataclass(frozen=True, slots=True)
class _Older:
    """A job of the same study and route that the new revision does not want."""

    job_id: str
    state: str
    places: frozenset[tuple[str, str]]
    same_attributes: bool
    """The study said the same of its patient then."""

    @property
    def has_begun(self) -> bool:
        return self.state in ("running", "done")


def heed_policy(
    tx: Transaction, queries: Queries, decision: RouteDecision, *, study_id: int, revision_id: int
) -> RouteDecision:
    """The decision, without reads that would repeat a read for late instances on a route that reads only once.

    A read that has not begun is replaced whatever the policy says, and attributes that were corrected are always read
    again: results must not stay with the wrong patient.
    """
    if decision.late == "reread" or not decision.jobs:
        return decision
    older = _unwanted(tx, queries, decision, study_id=study_id, revision_id=revision_id)
    begun = [o for o in older if o.has_begun and o.same_attributes]
    late = set(_repeats(decision.jobs, begun))
    if not late:
        return decision
    outcome = "ignored" if decision.late == "ignore" else "notified"
    said = "late instances changed what the bundle read; this route does not read a study twice"
    if outcome == "notified":
        tx.event("late", f"route {decision.route}: {said}", study_id=study_id)
    others = tuple(job for job in decision.jobs if job.key not in late)
    return dataclasses.replace(decision, outcome=outcome, reason=said, jobs=others)


def supersede(tx: Transaction, queries: Queries, decision: RouteDecision, *, study_id: int, revision_id: int) -> None:
    """End or mark what the new revision replaces; call it after the jobs of ``decision`` were made."""
    if decision.outcome in ("ignored", "notified"):
        return
    successors = _successors(tx, queries, decision, study_id)
    for older in _unwanted(tx, queries, decision, study_id=study_id, revision_id=revision_id):
        successor = next((job_id for job_id, read in successors if read & older.places), "")
        successor = successor or next((job_id for job_id, _ in successors), "")
        _end(tx, queries, older, successor, study_id)
        if not successor or not older.same_attributes:
            why = "the newest revision does not want it"
            withdraw(tx, queries, older.job_id, study_id, why, signed_too=not older.same_attributes)


def withdraw(
    tx: Transaction, queries: Queries, job_id: str, study_id: int, why: str, *, signed_too: bool = False
) -> None:
    """Take the results of a job that were not delivered, and those it superseded, out of the outbox.

    What a person signed stays in it, unless ``signed_too``: a signature is an act, and was true of what was read.
    """
    key = {"job_id": job_id, "signed_too": signed_too, "why": why}
    count = tx.run(queries["withdraw_of_job"], key)
    count += tx.run(queries["withdraw_superseded"], key)
    if count:
        tx.event(
            "withdrawn",
            f"{number_of(count, 'object that was', 'objects that were')} not delivered yet: {why}",
            study_id=study_id,
            job_id=job_id,
        )


def predecessors(rows: Iterable[Row]) -> tuple[ReportRef, ...]:
    """From rows of ``delivered_predecessors``: the reports that a job's report takes the place of."""
    return tuple(ReportRef(r["sop_class_uid"], r["sop_instance_uid"], r["series_instance_uid"]) for r in rows)


def settle(tx: Transaction, queries: Queries, row: Row, outcome: JobOutcome) -> JobOutcome:
    """What the end of job ``row`` means: ``outcome``, or to be done again if a report was delivered meanwhile that the
    new one takes the place of and does not name.

    Withdraws what the finished job takes the place of.
    """
    if outcome.state is not JobState.DONE and not outcome.results:
        return outcome
    delivered = tx.fetch(queries["delivered_predecessors"], {"job_id": row["id"]})
    if {r["sop_instance_uid"] for r in delivered} - {s.sop_instance_uid for s in outcome.supersedes}:
        reason = "a report it takes the place of was delivered meanwhile and must be named in the new one"
        return JobOutcome(row["id"], JobState.WAITING, code="predecessor-delivered", reason=reason)
    _succeed(tx, queries, row, delivered)
    return outcome


def _succeed(tx: Transaction, queries: Queries, row: Row, delivered: Sequence[Row]) -> None:
    key = {"job_id": row["id"], "signed_too": False, "why": "a newer read took its place"}
    withdrawn = tx.run(queries["withdraw_superseded"], key)
    if withdrawn:
        detail = f"{number_of(withdrawn, 'object')} of an earlier revision, not delivered yet"
        tx.event("withdrawn", detail, study_id=row["study_id"], job_id=row["id"])
    for old in delivered:
        detail = f"its delivered report has a successor, not delivered yet: that of job {row['id']}, which names it"
        tx.event("superseded", detail, study_id=row["study_id"], job_id=old["job_id"])


def _unwanted(
    tx: Transaction, queries: Queries, decision: RouteDecision, *, study_id: int, revision_id: int
) -> list[_Older]:
    wanted = {job.key for job in decision.jobs}
    rows = tx.fetch(
        queries["jobs_of_older_revisions"],
        {"study_id": study_id, "route": decision.route, "revision_id": revision_id},
    )
    return [
        _Older(r["id"], r["state"], places(r["chosen"]), bool(r["same_attributes"]))
        for r in rows
        if (r["bundle_digest"], r["input_digest"]) not in wanted
    ]


def _repeats(jobs: Sequence[NewJob], begun: Sequence[_Older]) -> Iterable[tuple[str, str]]:
    """Which of ``jobs`` repeat a read that has begun: of the same series, or of another one chosen in its place."""
    switched = any(not any(o.places & job.places for job in jobs) for o in begun)
    for job in jobs:
        if any(o.places & job.places for o in begun) or switched:
            yield job.key


def _successors(
    tx: Transaction, queries: Queries, decision: RouteDecision, study_id: int
) -> list[tuple[str, frozenset[tuple[str, str]]]]:
    found = []
    for job in decision.jobs:
        key = {"study_id": study_id, "route": decision.route}
        key |= {"bundle_digest": job.bundle_digest, "input_digest": job.input_digest}
        found += [(str(row["id"]), job.places) for row in tx.fetch(queries["same_read"], key)]
    return found


def _end(tx: Transaction, queries: Queries, older: _Older, successor: str, study_id: int) -> None:
    marked = {"job_id": older.job_id, "now": now()}
    tx.run(queries["mark_superseded"], marked | {"successor": successor})
    if tx.run(queries["mark_sign_off_superseded"], marked):
        said = "what was signed is superseded: the study changed in what had been read"
        tx.event("sign_off_superseded", said, study_id=study_id, job_id=older.job_id)
    by = f"job {successor} reads a newer revision" if successor else "the newest revision is not read by this route"
    if tx.run(queries["cancel_superseded"], {"job_id": older.job_id, "reason": f"superseded: {by}", "now": now()}):
        tx.event("superseded", f"not read: {by}", study_id=study_id, job_id=older.job_id)
    elif tx.run(queries["stop_superseded"], {"job_id": older.job_id}):
        tx.event("superseded", f"being stopped: {by}", study_id=study_id, job_id=older.job_id)
