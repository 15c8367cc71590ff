"""The queue: what may run is claimed in order, what may not is passed over, and every end is recorded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from faketime import FakeTime
from queued import add_revision, add_study, decision, result
from wetread.db import Database, now
from wetread.errors import Misconfigured
from wetread.jobs.queue import ClaimedJob, PrioritySettings, Queue, RetrySettings
from wetread.jobs.requests import Requests
from wetread.records.job import JobOutcome, JobState, Prediction

MAX_ATTEMPTS = 3


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
    with db.transaction() as tx:
        tx.run("UPDATE studies SET state = 'receiving'")
    assert queue.claim() is not None


def test_job_made_for_a_held_study_is_not_claimed(db: Database, queue: Queue) -> None:
    study_id, revision_id = add_study(db)
    with db.transaction() as tx:
        tx.run("UPDATE studies SET state = 'held'")
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")])
    assert queue.claim() is None


def test_prediction_is_kept_with_the_job_and_stands_in_its_timeline(db: Database, queue: Queue) -> None:
    study_id, revision_id = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")])
    job = queue.claim()
    assert job is not None
    queue.predicted(job.job_id, Prediction(1200, 14.0, "48 windows"))
    assert tuple(db.fetch("SELECT predicted_mb, predicted_s FROM jobs")[0]) == (1200, 14.0)
    queue.predicted(job.job_id, None)
    assert tuple(db.fetch("SELECT predicted_mb, predicted_s FROM jobs")[0]) == (None, None)
    details = [r["detail"] for r in db.fetch("SELECT detail FROM events WHERE action = 'predicted' ORDER BY id")]
    assert details[0] == "about 1200 MB and 14 s (48 windows)"
    assert "nothing is known" in details[1]


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


def test_full_disk_costs_a_job_no_attempt(db: Database, queue: Queue) -> None:
    study_id, revision_id = add_study(db)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision("x")])
    for number in range(1, 3 * MAX_ATTEMPTS):
        job = queue.claim()
        assert job is not None, f"given up after {number - 1} full disks"
        assert job.attempt == number
        full = JobOutcome(job.job_id, JobState.WAITING, code="spool-unavailable", reason="no space left on device")
        queue.finish(full, data_folder=Path("/nowhere"))
    (row,) = db.fetch("SELECT state, attempts, reason FROM jobs")
    assert tuple(row) == ("waiting", 0, "no space left on device")


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
    second = add_revision(db, study_id, 2)
    queue.enqueue(study_id=study_id, revision_id=second, decisions=[decision("whole")])
    job = queue.claim()
    assert job is not None
    queue.finish(JobOutcome(job.job_id, JobState.DONE, results=(result(tmp_path, "1.6"),)), data_folder=tmp_path)
    states = {r["sop_instance_uid"]: r["state"] for r in db.fetch("SELECT sop_instance_uid, state FROM outbox")}
    assert states == {"1.5": "withdrawn", "1.6": "pending"}


def test_rows_changed_by_a_statement_with_a_common_table_expression_are_counted(db: Database) -> None:
    add_study(db)
    statement = "WITH x (v) AS (VALUES (:v)) UPDATE studies SET reason = 'r' WHERE folder IN (SELECT v FROM x)"
    with db.transaction() as tx:
        assert tx.run(statement, {"v": "nobody"}) == 0
        assert tx.run(statement, {"v": db.fetch("SELECT folder FROM studies")[0]["folder"]}) == 1


def test_retry_and_cancel_say_what_they_cannot_do(db: Database, queue: Queue) -> None:
    person = Requests(db)
    with pytest.raises(Misconfigured, match="no job nothing"):
        person.retry("nothing")
    job_id = enqueue(db, queue, "x")
    with pytest.raises(Misconfigured, match="is waiting: only a failed, rejected or cancelled job"):
        person.retry(job_id)
    person.cancel(job_id)
    assert queue.claim() is None
    with pytest.raises(Misconfigured, match="is cancelled: only a waiting or running job"):
        person.cancel(job_id)
    person.retry(job_id)
    assert queue.claim() is not None


def enqueue(db: Database, queue: Queue, digest: str, *, priority: int = 0, **more: str) -> str:
    """A job of a study of its own; its id."""
    study_id, revision_id = add_study(db, priority=priority)
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[decision(digest, **more)])
    return str(db.fetch("SELECT id FROM jobs WHERE study_id = :id", {"id": study_id})[0]["id"])


def claimed(queue: Queue) -> str:
    job = queue.claim()
    assert job is not None
    return job.job_id


def fail(queue: Queue, job: ClaimedJob | str, code: str) -> None:
    job_id = job if isinstance(job, str) else job.job_id
    queue.finish(JobOutcome(job_id, JobState.WAITING, code=code, reason="r"), data_folder=Path("/"))


def test_urgent_job_goes_first_and_the_others_come_to_their_turn(db: Database, fake_time: FakeTime) -> None:
    queue = Queue(db, RetrySettings(), owner="me", priority=PrioritySettings(head_start_s=100.0))
    old = enqueue(db, queue, "old")
    fake_time.pass_s(101.0)
    later = enqueue(db, queue, "later")
    urgent = enqueue(db, queue, "urgent", priority=1)
    # ``old`` has waited longer than the head start: it does not starve.
    assert [claimed(queue) for _ in range(3)] == [old, urgent, later]


def test_job_hurries_when_its_study_is_sent_again_with_higher_priority(db: Database, queue: Queue) -> None:
    first = enqueue(db, queue, "first")
    second = enqueue(db, queue, "second")
    with db.transaction() as tx:
        tx.run("UPDATE studies SET priority = 1 WHERE id = (SELECT study_id FROM jobs WHERE id = :id)", {"id": second})
    assert [claimed(queue), claimed(queue)] == [second, first]


@pytest.mark.parametrize("kind", ["all", "route", "bundle"])
def test_nothing_paused_is_claimed_and_resumed_it_goes_on(db: Database, queue: Queue, kind: str) -> None:
    paused = enqueue(db, queue, "x", route="r1", bundle="b1")
    other = enqueue(db, queue, "y", route="r2", bundle="b2")
    person = Requests(db)
    name = {"all": "", "route": "r1", "bundle": "b1"}[kind]
    person.pause(kind, name, "looks wrong")  # type: ignore[arg-type]
    restarted = Queue(db, RetrySettings(), owner="next")
    assert kind == "all" or claimed(restarted) == other
    assert restarted.claim() is None
    person.resume(kind, name)  # type: ignore[arg-type]
    assert claimed(restarted) == paused
    actions = [r["action"] for r in db.fetch("SELECT action FROM events WHERE study_id IS NULL")]
    assert actions == ["paused", "resumed"]


def test_resume_of_what_is_not_paused_says_what_is(db: Database) -> None:
    person = Requests(db)
    person.pause("bundle", "b1", "drifts")
    with pytest.raises(Misconfigured, match="route r1 is not paused; paused: bundle b1"):
        person.resume("route", "r1")


def test_cancelled_running_job_is_cancelled_whatever_its_worker_answers(
    db: Database, queue: Queue, tmp_path: Path
) -> None:
    job_id = enqueue(db, queue, "x")
    claimed(queue)
    assert queue.to_cancel() == []
    Requests(db).cancel(job_id)
    assert queue.to_cancel() == [job_id]
    queue.finish(JobOutcome(job_id, JobState.DONE, results=(result(tmp_path, "1.5"),)), data_folder=tmp_path)
    assert db.fetch("SELECT state, reason FROM jobs")[0]["state"] == "cancelled"
    assert db.fetch("SELECT * FROM results") == []
    assert queue.to_cancel() == []


def test_cancel_asked_of_a_dead_coordinator_is_done_by_the_next(db: Database, queue: Queue) -> None:
    job_id = enqueue(db, queue, "x")
    claimed(queue)
    Requests(db).cancel(job_id)
    Queue(db, RetrySettings(), owner="next").recover()
    assert db.fetch("SELECT state FROM jobs")[0]["state"] == "cancelled"


def test_retry_keeps_the_history(db: Database, queue: Queue) -> None:
    job_id = enqueue(db, queue, "x")
    for _ in range(MAX_ATTEMPTS):
        fail(queue, claimed(queue), "temporary")
    assert db.fetch("SELECT state FROM jobs")[0]["state"] == "failed"
    with db.transaction() as tx:
        tx.run("UPDATE jobs SET progress = 'guard 25%'", {})
    Requests(db).retry(job_id)
    assert db.fetch("SELECT progress FROM jobs")[0]["progress"] == ""
    job = queue.claim()
    assert job is not None
    assert job.attempt == MAX_ATTEMPTS + 1
    assert len(db.fetch("SELECT * FROM attempts")) == MAX_ATTEMPTS + 1


def test_job_that_killed_its_worker_runs_alone(db: Database, queue: Queue) -> None:
    deadly = enqueue(db, queue, "deadly")
    fail(queue, claimed(queue), "worker-died")
    beside = enqueue(db, queue, "beside")
    first = queue.claim()
    assert first is not None
    assert (first.job_id, first.alone) == (deadly, True)
    assert queue.claim() is None, "something runs beside a job that must be alone"
    fail(queue, first, "worker-died")
    # Its back-off is 0 here, so it is the first again; with something else running it would wait:
    assert claimed(queue) == deadly
    fail(queue, deadly, "worker-died")
    assert db.fetch("SELECT state FROM jobs WHERE id = :id", {"id": deadly})[0]["state"] == "failed"
    assert claimed(queue) == beside


def test_job_that_must_be_alone_waits_for_the_running_ones_and_nothing_is_started_beside(
    db: Database, fake_time: FakeTime
) -> None:
    queue = Queue(db, RetrySettings(first_delay_s=10.0), owner="me")
    deadly = enqueue(db, queue, "deadly")
    fail(queue, claimed(queue), "out-of-memory")
    running = enqueue(db, queue, "running")
    assert claimed(queue) == running, "others go on while it backs off"
    enqueue(db, queue, "waiting")
    fake_time.pass_s(10.0)
    assert queue.claim() is None
    fail(queue, running, "spool-unavailable")
    assert claimed(queue) == deadly


@pytest.mark.parametrize("jump_s", [-86400.0, 86400.0])
def test_clock_that_jumps_by_a_day_loses_no_job_and_keeps_the_order(
    db: Database, fake_time: FakeTime, jump_s: float
) -> None:
    queue = Queue(db, RetrySettings(first_delay_s=10.0), owner="me")
    backing_off = enqueue(db, queue, "backs off")
    fail(queue, claimed(queue), "spool-unavailable")
    older = enqueue(db, queue, "older")
    fake_time.jump_s(jump_s)
    fake_time.pass_s(1.0)
    newer = enqueue(db, queue, "newer")
    assert [claimed(queue) for _ in range(3)] == [backing_off, older, newer]


def test_order_survives_a_restart_after_the_clock_was_set_back(db: Database, fake_time: FakeTime) -> None:
    older = enqueue(db, Queue(db, RetrySettings(), owner="me"), "older")
    fake_time.jump_s(-86400.0)
    restarted = Queue(db, RetrySettings(), owner="next")
    fake_time.pass_s(1.0)
    newer = enqueue(db, restarted, "newer")
    assert [claimed(restarted), claimed(restarted)] == [older, newer]


def test_shadow_read_is_to_be_compared_with_the_live_read_of_the_same_series(
    db: Database, queue: Queue, tmp_path: Path
) -> None:
    study_id, revision_id = add_study(db)
    decisions = [decision("x", route="a"), decision("x", route="b", mode="shadow")]
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=decisions)
    for number in (5, 6):
        outcome = JobOutcome(claimed(queue), JobState.DONE, results=(result(tmp_path, f"1.{number}"),))
        queue.finish(outcome, data_folder=tmp_path)
    modes = dict(map(tuple, db.fetch("SELECT id, mode FROM jobs")))
    (pair,) = db.fetch("SELECT shadow_job_id, live_job_id FROM comparisons")
    assert [modes[pair["shadow_job_id"]], modes[pair["live_job_id"]]] == ["shadow", "live"]
