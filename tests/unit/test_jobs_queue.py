"""The queue as a state machine: whatever happens in whatever order, no job is lost, doubled or done twice."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wetread.db import Database, now
from wetread.errors import Misconfigured
from wetread.jobs.queue import NewJob, Queue, RetrySettings, RouteDecision
from wetread.records.job import JobOutcome, JobState
from wetread.records.result import EncodedResult

MAX_ATTEMPTS = 3


def add_study(db: Database) -> tuple[int, int]:
    """A study with one revision, as the store leaves it: ``(study id, revision id)``."""
    with db.transaction() as tx:
        study_id = tx.fetch(
            "INSERT INTO studies (study_instance_uid, folder, attributes, state, created_at, updated_at)"
            " VALUES ('1.2', 'f', '{}', 'complete', :now, :now) RETURNING id",
            {"now": now()},
        )[0]["id"]
        revision_id = tx.fetch(
            "INSERT INTO revisions (study_id, number, digest, reason, created_at)"
            " VALUES (:study_id, 1, 'd', 'quiet', :now) RETURNING id",
            {"study_id": study_id, "now": now()},
        )[0]["id"]
    return study_id, revision_id


def decision(*inputs: str, mode: str = "live", destinations: tuple[str, ...] = ("pacs",)) -> RouteDecision:
    jobs = tuple(
        NewJob("r", mode, destinations, "b", "1", "bd", Path("/b"), (("image", "1.2.3", "fits"),), digest)
        for digest in inputs
    )
    return RouteDecision("r", "read", "matches", ("v",), jobs)


def result(folder: Path, uid: str) -> EncodedResult:
    return EncodedResult("SEG", "1.2.3", uid, "1.9", "1.2.840.10008.1.2.1", folder / f"{uid}.dcm", "0" * 64)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return Database(tmp_path / "wetread.db")


@pytest.fixture
def queue(db: Database) -> Queue:
    return Queue(db, RetrySettings(max_attempts=MAX_ATTEMPTS, first_delay_s=0.0), owner="me")


def test_same_input_is_read_once(db: Database, queue: Queue) -> None:
    study_id, revision_id = add_study(db)
    assert queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")]) == 1
    assert queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")]) == 0
    (recorded,) = db.fetch("SELECT outcome, reason FROM decisions")
    assert tuple(recorded) == ("unchanged", "what the bundle chose was read before")


def test_job_of_a_held_study_is_not_claimed(db: Database, queue: Queue) -> None:
    study_id, revision_id = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")])
    with db.transaction() as tx:
        tx.run("UPDATE studies SET state = 'held'")
    assert queue.claim() is None


def test_results_and_outbox_are_committed_with_the_end(db: Database, queue: Queue, tmp_path: Path) -> None:
    study_id, revision_id = add_study(db)
    queue.enqueue(
        study_id=study_id, revision_id=revision_id, decisions=[decision("x", destinations=("pacs", "archive"))]
    )
    job = queue.claim()
    assert job is not None
    outcome = JobOutcome(job.job_id, JobState.DONE, results=(result(tmp_path, "1.5"), result(tmp_path, "1.6")))
    queue.finish(outcome, data_folder=tmp_path)
    queue.finish(outcome, data_folder=tmp_path)
    assert [r["path"] for r in db.fetch("SELECT path FROM results ORDER BY position")] == ["1.5.dcm", "1.6.dcm"]
    assert len(db.fetch("SELECT * FROM outbox")) == 4


def test_finish_that_fails_half_way_changes_nothing(db: Database, queue: Queue, tmp_path: Path) -> None:
    study_id, revision_id = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")])
    job = queue.claim()
    assert job is not None
    outside = result(Path("/elsewhere"), "1.5")
    with pytest.raises(ValueError, match="elsewhere"):
        queue.finish(JobOutcome(job.job_id, JobState.DONE, results=(outside,)), data_folder=tmp_path)
    assert db.fetch("SELECT state FROM jobs")[0]["state"] == "running"
    assert db.fetch("SELECT * FROM outbox") == []


def test_shadow_puts_nothing_into_the_outbox(db: Database, queue: Queue, tmp_path: Path) -> None:
    study_id, revision_id = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x", mode="shadow")])
    job = queue.claim()
    assert job is not None
    queue.finish(JobOutcome(job.job_id, JobState.DONE, results=(result(tmp_path, "1.5"),)), data_folder=tmp_path)
    assert len(db.fetch("SELECT * FROM results")) == 1
    assert db.fetch("SELECT * FROM outbox") == []


def test_temporary_error_waits_before_the_next_attempt(db: Database) -> None:
    queue = Queue(db, RetrySettings(max_attempts=3, first_delay_s=60.0), owner="me")
    study_id, revision_id = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")])
    job = queue.claim()
    assert job is not None
    queue.finish(JobOutcome(job.job_id, JobState.WAITING, code="worker-died", reason="gone"), data_folder=Path("/"))
    assert queue.claim() is None
    (row,) = db.fetch("SELECT state, reason, available_at FROM jobs")
    assert (row["state"], row["reason"]) == ("waiting", "gone")
    assert row["available_at"] > now(50.0)


def test_orderly_stop_costs_no_attempt(db: Database, queue: Queue) -> None:
    study_id, revision_id = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")])
    for _ in range(MAX_ATTEMPTS + 2):
        assert queue.claim() is not None
        assert queue.put_back() == 1
    (row,) = db.fetch("SELECT state, attempts, reason FROM jobs")
    assert tuple(row) == ("waiting", 0, "")
    assert {r["outcome"] for r in db.fetch("SELECT outcome FROM attempts")} == {"stopped"}


def test_reason_of_an_earlier_attempt_is_not_shown_while_the_next_one_runs(db: Database, queue: Queue) -> None:
    study_id, revision_id = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")])
    queue.claim()
    queue.recover()
    assert "interrupted" in db.fetch("SELECT reason FROM jobs")[0]["reason"]
    queue.claim()
    assert db.fetch("SELECT reason FROM jobs")[0]["reason"] == ""


def test_undelivered_results_of_a_superseded_revision_are_withdrawn(db: Database, queue: Queue, tmp_path: Path) -> None:
    study_id, first = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=first, decisions=[decision("partial")])
    job = queue.claim()
    assert job is not None
    queue.finish(JobOutcome(job.job_id, JobState.DONE, results=(result(tmp_path, "1.5"),)), data_folder=tmp_path)
    with db.transaction() as tx:
        second = tx.fetch(
            "INSERT INTO revisions (study_id, number, digest, reason, created_at)"
            " VALUES (:study_id, 2, 'e', 'quiet', :now) RETURNING id",
            {"study_id": study_id, "now": now()},
        )[0]["id"]
    queue.enqueue(study_id=study_id, revision_id=second, decisions=[decision("whole")])
    job = queue.claim()
    assert job is not None
    queue.finish(JobOutcome(job.job_id, JobState.DONE, results=(result(tmp_path, "1.6"),)), data_folder=tmp_path)
    states = {r["sop_instance_uid"]: r["state"] for r in db.fetch("SELECT sop_instance_uid, state FROM outbox")}
    assert states == {"1.5": "withdrawn", "1.6": "pending"}


def test_retry_and_cancel_say_what_they_cannot_do(db: Database, queue: Queue) -> None:
    with pytest.raises(Misconfigured, match="no job nothing"):
        queue.retry("nothing")
    study_id, revision_id = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")])
    job_id = db.fetch("SELECT id FROM jobs")[0]["id"]
    with pytest.raises(Misconfigured, match="is waiting: only a failed, rejected or cancelled job"):
        queue.retry(job_id)
    queue.cancel(job_id)
    assert queue.claim() is None
    queue.retry(job_id)
    assert queue.claim() is not None


class QueueMachine(RuleBasedStateMachine):
    """Jobs are added, claimed, finished, interrupted and retried in any order; a model counts along."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.db = Database(self.path / "wetread.db")
        self.study_id, self.revision_id = add_study(self.db)
        self.restart()
        self.expected: dict[str, str] = {}
        self.attempts: dict[str, int] = {}
        self.claimed: list[str] = []

    def restart(self) -> None:
        self.queue = Queue(self.db, RetrySettings(max_attempts=MAX_ATTEMPTS, first_delay_s=0.0), owner="me")

    def teardown(self) -> None:
        self.db.close()
        self.folder.cleanup()

    @rule(digest=st.sampled_from("abcdef"))
    def enqueue(self, digest: str) -> None:
        made = self.queue.enqueue(study_id=self.study_id, revision_id=self.revision_id, decisions=[decision(digest)])
        ids = {r["id"] for r in self.db.fetch("SELECT id FROM jobs")} - set(self.expected)
        assert made == len(ids)
        for job_id in ids:
            self.expected[job_id] = "waiting"
            self.attempts[job_id] = 0

    @rule()
    def claim(self) -> None:
        job = self.queue.claim()
        assert (job is None) == ("waiting" not in self.expected.values())
        if job is not None:
            assert self.expected[job.job_id] == "waiting"
            self.expected[job.job_id] = "running"
            self.attempts[job.job_id] += 1
            self.claimed.append(job.job_id)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), state=st.sampled_from([JobState.DONE, JobState.REJECTED, JobState.FAILED, JobState.WAITING]))
    def finish(self, data: st.DataObject, state: JobState) -> None:
        job_id = data.draw(st.sampled_from(self.claimed))
        results = (result(self.path, f"1.{int(job_id, 16)}"),) if state is JobState.DONE else ()
        self.queue.finish(JobOutcome(job_id, state, results=results, reason="r"), data_folder=self.path)
        self.claimed.remove(job_id)
        again = state is JobState.WAITING and self.attempts[job_id] >= MAX_ATTEMPTS
        self.expected[job_id] = "failed" if again else state.value

    @rule()
    def crash(self) -> None:
        """The coordinator dies; the next one recovers."""
        self.restart()
        assert self.queue.recover() == len(self.claimed)
        for job_id in self.claimed:
            self.expected[job_id] = "failed" if self.attempts[job_id] >= MAX_ATTEMPTS else "waiting"
        self.claimed.clear()

    @precondition(lambda self: any(s in ("failed", "rejected", "cancelled") for s in self.expected.values()))
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        ended = sorted(j for j, s in self.expected.items() if s in ("failed", "rejected", "cancelled"))
        job_id = data.draw(st.sampled_from(ended))
        self.queue.retry(job_id)
        self.expected[job_id] = "waiting"
        self.attempts[job_id] = 0

    @invariant()
    def database_agrees(self) -> None:
        rows = self.db.fetch("SELECT id, state FROM jobs")
        assert {r["id"]: r["state"] for r in rows} == self.expected
        done = sum(s == "done" for s in self.expected.values())
        assert len(self.db.fetch("SELECT * FROM outbox")) == done
        open_attempts = self.db.fetch("SELECT job_id FROM attempts WHERE ended_at IS NULL")
        assert sorted(r["job_id"] for r in open_attempts) == sorted(self.claimed)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
