"""The queue as a state machine: whatever happens in whatever order, no job is lost, doubled, stuck or done twice."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from unittest import mock

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from faketime import FakeTime
from queued import add_study, decision, result
from wetread.db import Database
from wetread.jobs.queue import PrioritySettings, Queue, RetrySettings
from wetread.jobs.requests import Requests
from wetread.records.job import JobOutcome, JobState

MAX_ATTEMPTS = 3
FIRST_DELAY_S = 10.0
LONGEST_DELAY_S = FIRST_DELAY_S * 2 ** (MAX_ATTEMPTS - 1)
HEAD_START_S = 60.0
DAY_S = 86400.0

ROUTES = {"live-a": ("live", "a"), "live-b": ("live", "b"), "shadow-b": ("shadow", "b")}
PAUSES = [("all", ""), ("route", "live-a"), ("route", "shadow-b"), ("bundle", "b")]


@dataclass
class Model:
    """What should be true of one job."""

    study_id: int
    route: str
    state: str = "waiting"
    attempts: int = 0
    wakes_at: datetime | None = None
    alone: bool = False
    cancel_asked: bool = False
    events: list[str] = field(default_factory=lambda: ["queued"])

    @property
    def bundle(self) -> str:
        return ROUTES[self.route][1]


class QueueMachine(RuleBasedStateMachine):
    """Anything that can happen to jobs, in any order; a model counts along."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.path = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.time = FakeTime()
        self.stack.enter_context(self.time.installed())
        # Job ids in the order of queueing: the same choices make the same run.
        ids = (uuid.UUID(int=n << 80) for n in itertools.count(1))
        self.stack.enter_context(mock.patch("uuid.uuid4", side_effect=ids))
        self.db = Database(self.path / "wetread.db")
        self.stack.callback(self.db.close)
        self.priority = {0: 0, 1: 0, 2: 1}
        self.studies = [add_study(self.db, priority=p) for p in self.priority.values()]
        self.held: set[int] = set()
        self.paused: set[tuple[str, str]] = set()
        self.jobs: dict[str, Model] = {}
        self.person = Requests(self.db)
        self.start_service()

    def start_service(self) -> None:
        self.queue = Queue(
            self.db,
            RetrySettings(MAX_ATTEMPTS, FIRST_DELAY_S),
            owner="me",
            priority=PrioritySettings(HEAD_START_S),
        )

    def teardown(self) -> None:
        try:
            self.everything_comes_to_an_end()
        finally:
            self.stack.close()

    # What happens -----------------------------------------------------------------------------------------------

    @rule(study=st.integers(0, 2), route=st.sampled_from(sorted(ROUTES)), digest=st.sampled_from("xyz"))
    def enqueue(self, study: int, route: str, digest: str) -> None:
        self.time.pass_s(1.0)
        study_id, revision_id = self.studies[study]
        mode, bundle = ROUTES[route]
        wanted = decision(digest, mode=mode, route=route, bundle=bundle)
        waiting = [self.due(j) for j in self.in_state("waiting", "running") if "retry" not in self.jobs[j].events]
        made = self.queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[wanted])
        new = {r["id"] for r in self.db.fetch("SELECT id FROM jobs")} - set(self.jobs)
        assert made == len(new)
        for job_id in new:
            self.jobs[job_id] = Model(study_id, route)
            assert self.due(job_id) > max(waiting, default=""), "overtakes what waits already"

    @rule()
    def claim(self) -> None:
        may_run = self.may_run()
        running = self.in_state("running")
        best = min((self.rank(j) for j in may_run), default=0.0)
        first = {j for j in may_run if self.rank(j) - best < 0.001}
        job = self.queue.claim()
        if job is None:
            alone = any(self.jobs[j].alone for j in running) or (running and any(self.jobs[j].alone for j in first))
            assert alone or not may_run
            return
        assert job.job_id in first
        assert not any(self.jobs[j].alone for j in running), "something runs beside a job that must be alone"
        model = self.jobs[job.job_id]
        assert job.alone == model.alone
        assert not (job.alone and running)
        model.state, model.wakes_at = "running", None
        model.attempts += 1
        model.events.append("claimed")

    @precondition(lambda self: self.in_state("running"))
    @rule(
        data=st.data(),
        state=st.sampled_from([JobState.DONE, JobState.REJECTED, JobState.FAILED, JobState.WAITING]),
        code=st.sampled_from(["worker-died", "worker-silent", "out-of-memory", "spool-unavailable"]),
    )
    def finish(self, data: st.DataObject, state: JobState, code: str) -> None:
        job_id = data.draw(st.sampled_from(self.in_state("running")))
        self.answer(job_id, state, code)

    def answer(self, job_id: str, state: JobState, code: str = "") -> None:
        model = self.jobs[job_id]
        results = (result(self.path, f"1.{int(job_id, 16)}"),) if state is JobState.DONE else ()
        outcome = JobOutcome(job_id, state, results=results, code=code, reason="r")
        self.queue.finish(outcome, data_folder=self.path)
        self.queue.finish(outcome, data_folder=self.path)  # told twice, recorded once
        if model.cancel_asked:
            self.end(model, "cancelled", "cancelled")
        elif state is JobState.WAITING:
            excused = code == "spool-unavailable"
            self.waits_again(model, FIRST_DELAY_S * 2 ** (model.attempts - 1), alone=not excused, excused=excused)
        else:
            self.end(model, state.value, "read" if state is JobState.DONE else state.value)

    @rule()
    def crash(self) -> None:
        """The coordinator dies; the next one recovers."""
        running = self.in_state("running")
        self.start_service()
        assert self.queue.recover() == len(running)
        for model in (self.jobs[j] for j in running):
            if model.cancel_asked:
                self.end(model, "cancelled", "cancelled")
            else:
                self.waits_again(model, 0.0, alone=False)

    @rule()
    def orderly_stop(self) -> None:
        running = self.in_state("running")
        assert self.queue.put_back() == len(running)
        for model in (self.jobs[j] for j in running):
            if model.cancel_asked:
                self.end(model, "cancelled", "cancelled")
            else:
                model.state, model.attempts = "waiting", model.attempts - 1
                model.events.append("put_back")
        self.start_service()
        assert self.queue.recover() == 0

    @precondition(lambda self: self.in_state("failed", "rejected", "cancelled"))
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        model = self.jobs[job_id := data.draw(st.sampled_from(self.in_state("failed", "rejected", "cancelled")))]
        self.person.retry(job_id)
        model.state, model.attempts, model.wakes_at = "waiting", 0, None
        model.events.append("retry")

    @precondition(lambda self: self.in_state("waiting", "running"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        model = self.jobs[job_id := data.draw(st.sampled_from(self.in_state("waiting", "running")))]
        self.person.cancel(job_id)
        if model.state == "waiting":
            self.end(model, "cancelled", "cancelled")
        else:
            model.cancel_asked = True
            model.events.append("cancel_asked")
            assert job_id in self.queue.to_cancel()

    @rule(what=st.sampled_from(PAUSES))
    def pause(self, what: tuple[str, str]) -> None:
        self.person.pause(*what, "r")  # type: ignore[arg-type]
        self.paused.add(what)

    @precondition(lambda self: self.paused)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        what = data.draw(st.sampled_from(sorted(self.paused)))
        self.person.resume(*what)  # type: ignore[arg-type]
        self.paused.remove(what)

    @rule(study=st.integers(0, 2), to=st.sampled_from(["held", "receiving", "complete"]))
    def hold_or_release(self, study: int, to: str) -> None:
        self.set_study(self.studies[study][0], state=to)

    @rule(study=st.integers(0, 2))
    def hurry(self, study: int) -> None:
        with self.db.transaction() as tx:
            tx.run("UPDATE studies SET priority = 1 WHERE id = :id", {"id": self.studies[study][0]})
        self.priority[study] = 1

    @rule(seconds=st.sampled_from([1.0, 10.0, 40.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.time.pass_s(seconds)

    @rule(seconds=st.sampled_from([-DAY_S, -15.0, 15.0, DAY_S]))
    def clock_jumps(self, seconds: float) -> None:
        self.time.jump_s(seconds)

    # What is true -----------------------------------------------------------------------------------------------

    @invariant()
    def every_job_is_in_its_one_place(self) -> None:
        rows = self.db.fetch("SELECT * FROM jobs")
        assert {r["id"]: r["state"] for r in rows} == {j: m.state for j, m in self.jobs.items()}
        assert {r["id"]: r["attempts"] for r in rows} == {j: m.attempts for j, m in self.jobs.items()}
        assert all((r["owner"] is not None) == (r["state"] == "running") for r in rows)
        attempts = self.db.fetch("SELECT job_id FROM attempts WHERE ended_at IS NULL")
        assert sorted(r["job_id"] for r in attempts) == self.in_state("running")

    @invariant()
    def only_finished_live_reads_are_sent(self) -> None:
        done = set(self.in_state("done"))
        assert {r["job_id"] for r in self.db.fetch("SELECT job_id FROM results")} == done
        live = sorted(j for j in done if ROUTES[self.jobs[j].route][0] == "live")
        assert sorted(r["job_id"] for r in self.db.fetch("SELECT job_id FROM outbox")) == live

    @invariant()
    def events_tell_every_transition(self) -> None:
        told: dict[str, list[str]] = {job_id: [] for job_id in self.jobs}
        for row in self.db.fetch("SELECT job_id, action FROM events WHERE job_id IS NOT NULL ORDER BY id"):
            if row["action"] != "withdrawn":
                told[row["job_id"]].append(row["action"])
        assert told == {job_id: model.events for job_id, model in self.jobs.items()}

    def everything_comes_to_an_end(self) -> None:
        """None stuck: once nothing is paused or held and time passes, every job ends."""
        for what in sorted(self.paused):
            self.person.resume(*what)  # type: ignore[arg-type]
        self.paused.clear()
        for study_id, _ in self.studies:
            self.set_study(study_id, state="complete")
        for job_id in self.in_state("running"):
            self.answer(job_id, JobState.DONE)
        self.time.pass_s(LONGEST_DELAY_S * 2)
        for _ in self.in_state("waiting"):
            self.claim()
            (running,) = self.in_state("running")
            self.answer(running, JobState.DONE)
        assert not self.in_state("waiting", "running")
        self.every_job_is_in_its_one_place()
        self.only_finished_live_reads_are_sent()
        self.events_tell_every_transition()

    # The model --------------------------------------------------------------------------------------------------

    def in_state(self, *states: str) -> list[str]:
        return sorted(j for j, m in self.jobs.items() if m.state in states)

    def may_run(self) -> list[str]:
        """What the next claim may take; wakes in the model who would be woken."""
        now = self.time.wall
        latest = now + timedelta(seconds=LONGEST_DELAY_S)
        for model in self.jobs.values():
            if model.wakes_at is not None and (model.wakes_at <= now or model.wakes_at > latest):
                model.wakes_at = None
        return [j for j in self.in_state("waiting") if self.allowed(self.jobs[j])]

    def allowed(self, model: Model) -> bool:
        pauses = {("all", ""), ("route", model.route), ("bundle", model.bundle)}
        return model.wakes_at is None and model.study_id not in self.held and not pauses & self.paused

    def rank(self, job_id: str) -> float:
        """Seconds; the smallest is claimed first. The head start goes with the study's priority as it is now."""
        study = next(n for n, (study_id, _) in enumerate(self.studies) if study_id == self.jobs[job_id].study_id)
        return datetime.fromisoformat(self.due(job_id)).timestamp() - self.priority[study] * HEAD_START_S

    def due(self, job_id: str) -> str:
        return str(self.db.fetch("SELECT due FROM jobs WHERE id = :id", {"id": job_id})[0]["due"])

    def set_study(self, study_id: int, *, state: str) -> None:
        with self.db.transaction() as tx:
            tx.run("UPDATE studies SET state = :state WHERE id = :id", {"state": state, "id": study_id})
        (self.held.add if state == "held" else self.held.discard)(study_id)

    def waits_again(self, model: Model, delay_s: float, *, alone: bool, excused: bool = False) -> None:
        model.attempts -= excused
        if model.attempts >= MAX_ATTEMPTS:
            self.end(model, "failed", "failed")
            return
        model.state = "waiting"
        model.wakes_at = self.time.wall + timedelta(seconds=delay_s) if delay_s else None
        model.alone = model.alone or alone
        model.events.append("retry_later")

    def end(self, model: Model, state: str, event: str) -> None:
        model.state, model.cancel_asked = state, False
        model.events.append(event)


TestQueueMachine = QueueMachine.TestCase
# Without shrinking: with a database behind every step it takes minutes.
TestQueueMachine.settings = settings(max_examples=50, stateful_step_count=40, deadline=None, phases=[Phase.generate])
