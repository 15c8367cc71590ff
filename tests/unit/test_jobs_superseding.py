"""What late instances and corrections do to reads that wait, run, are done or were delivered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from wetread.db import Database, Queries
from wetread.jobs.new_job import Chosen, Late, NewJob, RouteDecision
from wetread.jobs.queue import ClaimedJob, Queue, RetrySettings
from wetread.records.job import JobOutcome, JobState
from wetread.records.result import EncodedResult

PATIENT = '{"patient": "A"}'


@dataclass
class Study:
    """One study whose revisions are routed by the test."""

    folder: Path
    revisions: int = 0

    def __post_init__(self) -> None:
        self.db = Database(self.folder / "wetread.db")
        self.queue = Queue(self.db, RetrySettings(first_delay_s=0.0), owner="me")
        with self.db.transaction() as tx:
            tx.run(
                "INSERT INTO studies (id, study_instance_uid, folder, attributes, state, created_at, updated_at)"
                " VALUES (1, '1.2', 'f', '{}', 'complete', 't', 't')"
            )

    def revise(
        self, *inputs: tuple[str, str], late: Late = "reread", attributes: str = PATIENT, outcome: str = "read"
    ) -> int:
        """A new revision in which the route wants these ``(series, input digest)``; how many new jobs.

        ``S/f`` is film ``f`` of series ``S``.
        """
        self.revisions += 1
        with self.db.transaction() as tx:
            tx.run(
                "INSERT INTO revisions (id, study_id, number, digest, reason, attributes, created_at)"
                " VALUES (:n, 1, :n, 'd', 'r', :attributes, 't')",
                {"n": self.revisions, "attributes": attributes},
            )
        jobs = tuple(
            NewJob("t1", "live", ("pacs",), "b", "1", "d", self.folder, (_chosen(series),), digest)
            for series, digest in inputs
        )
        decision = RouteDecision("t1", outcome, "the rule matches", (), jobs, late)
        return self.queue.enqueue(study_id=1, revision_id=self.revisions, decisions=[decision])

    def claim(self) -> ClaimedJob:
        job = self.queue.claim()
        assert job is not None
        return job

    def finish(self, job: ClaimedJob, **outcome: object) -> None:
        uid = f"2.25.{int(job.job_id, 16)}"
        path = self.folder / f"{job.job_id}.dcm"
        path.touch()
        result = EncodedResult("SR", "1.2.840.10008.5.1.4.1.1.88.34", uid, f"{uid}.1", "1.2.840.10008.1.2.1", path, "s")
        fields = {"state": JobState.DONE, "supersedes": self.queue.supersedes(job.job_id)} | outcome
        done = JobOutcome(job.job_id, results=(result,), **fields)  # type: ignore[arg-type]
        self.queue.finish(done, data_folder=self.folder)

    def read(self) -> ClaimedJob:
        job = self.claim()
        self.finish(job)
        return job

    def deliver(self) -> None:
        with self.db.transaction() as tx:
            tx.run("UPDATE outbox SET state = 'delivered' WHERE state = 'pending'")

    def jobs(self) -> list[tuple[str, str]]:
        rows = self.db.fetch("SELECT input_digest, state FROM jobs ORDER BY rowid")
        return [(r["input_digest"], r["state"]) for r in rows]

    def outbox(self) -> list[tuple[str, str]]:
        rows = self.db.fetch(
            "SELECT j.input_digest, o.state FROM outbox o JOIN jobs j ON j.id = o.job_id ORDER BY o.id"
        )
        return [(r["input_digest"], r["state"]) for r in rows]

    def outcomes(self) -> list[str]:
        return [r["outcome"] for r in self.db.fetch("SELECT outcome FROM decisions ORDER BY revision_id")]

    def actions(self) -> list[str]:
        return [r["action"] for r in self.db.fetch("SELECT action FROM events ORDER BY id")]


def _chosen(place: str) -> Chosen:
    series, _, film = place.partition("/")
    return Chosen("image", series, "", film)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_waiting_read_of_an_older_input_is_cancelled_and_the_newer_one_read(study: Study) -> None:
    study.revise(("A", "a1"))
    study.revise(("A", "a2"))
    assert study.jobs() == [("a1", "cancelled"), ("a2", "waiting")]
    assert study.actions().count("superseded") == 1
    study.read()
    assert study.outbox() == [("a2", "pending")]


def test_reason_of_a_study_is_not_that_of_a_read_which_another_took_the_place_of(study: Study) -> None:
    study.revise(("A", "a1"))
    study.revise(("A", "a2"))
    study.read()
    study.deliver()
    (status,) = study.db.fetch("SELECT state, reason FROM study_status")
    assert (status["state"], status["reason"]) == ("read", "")


def test_running_read_of_an_older_input_commits_nothing(study: Study) -> None:
    study.revise(("A", "a1"))
    running = study.claim()
    study.revise(("A", "a2"))
    study.finish(running)
    assert study.jobs() == [("a1", "cancelled"), ("a2", "waiting")]
    (job,) = study.db.fetch("SELECT * FROM jobs WHERE input_digest = 'a1'")
    assert (job["code"], "reads a newer revision" in job["reason"]) == ("superseded", True)
    assert study.outbox() == []
    study.read()
    assert study.outbox() == [("a2", "pending")]


def test_undelivered_results_are_withdrawn_when_the_newer_read_is_there_and_not_before(study: Study) -> None:
    study.revise(("A", "a1"))
    study.read()
    study.revise(("A", "a2"))
    assert study.outbox() == [("a1", "pending")]
    study.read()
    assert study.outbox() == [("a1", "withdrawn"), ("a2", "pending")]


def test_delivered_report_is_named_as_predecessor_and_the_timeline_says_superseded(study: Study) -> None:
    study.revise(("A", "a1"))
    first = study.read()
    study.deliver()
    study.revise(("A", "a2"))
    second = study.claim()
    (report,) = study.queue.supersedes(second.job_id)
    assert report.sop_instance_uid == f"2.25.{int(first.job_id, 16)}"
    study.finish(second)
    (event,) = study.db.fetch("SELECT * FROM events WHERE action = 'superseded'")
    assert event["job_id"] == first.job_id
    assert second.job_id in event["detail"]


def test_only_the_newest_delivered_report_is_named(study: Study) -> None:
    study.revise(("A", "a1"))
    study.read()
    study.deliver()
    study.revise(("A", "a2"))
    second = study.read()
    study.deliver()
    study.revise(("A", "a3"))
    third = study.claim()
    assert [r.sop_instance_uid for r in study.queue.supersedes(third.job_id)] == [f"2.25.{int(second.job_id, 16)}"]


def test_report_before_an_undelivered_one_is_named(study: Study) -> None:
    study.revise(("A", "a1"))
    first = study.read()
    study.deliver()
    study.revise(("A", "a2"))
    study.read()
    study.revise(("A", "a3"))
    third = study.claim()
    assert [r.sop_instance_uid for r in study.queue.supersedes(third.job_id)] == [f"2.25.{int(first.job_id, 16)}"]
    study.finish(third)
    assert study.outbox() == [("a1", "delivered"), ("a2", "withdrawn"), ("a3", "pending")]


def test_report_delivered_while_its_successor_was_read_makes_it_read_once_more(study: Study) -> None:
    """Its delivery was under way when the newer read began; else the archive would hold two unconnected reports."""
    study.revise(("A", "a1"))
    first = study.read()
    study.revise(("A", "a2"))
    second = study.claim()
    told = study.queue.supersedes(second.job_id)
    study.deliver()
    study.finish(second, supersedes=told)
    assert study.jobs() == [("a1", "done"), ("a2", "waiting")]
    assert study.outbox() == [("a1", "delivered")]
    again = study.claim()
    assert [r.sop_instance_uid for r in study.queue.supersedes(again.job_id)] == [f"2.25.{int(first.job_id, 16)}"]
    study.finish(again)
    assert study.outbox() == [("a1", "delivered"), ("a2", "pending")]


def test_read_whose_input_did_not_change_stays(study: Study) -> None:
    study.revise(("A", "a1"), ("B", "b1"))
    study.read()
    study.read()
    study.revise(("A", "a2"), ("B", "b1"))
    second = study.claim()
    study.finish(second)
    assert study.outbox() == [("a1", "withdrawn"), ("b1", "pending"), ("a2", "pending")]
    study.deliver()
    study.revise(("A", "a3"), ("B", "b1"))
    third = study.claim()
    assert [r.sop_instance_uid for r in study.queue.supersedes(third.job_id)] == [f"2.25.{int(second.job_id, 16)}"]


def test_another_series_chosen_takes_the_place_of_the_first(study: Study) -> None:
    study.revise(("A", "a1"))
    study.read()
    study.deliver()
    study.revise(("B", "b1"))
    assert len(study.queue.supersedes(study.claim().job_id)) == 1


def test_dead_letter_of_an_older_input_is_not_left_standing(study: Study) -> None:
    study.revise(("A", "a1"))
    failed = JobOutcome(study.claim().job_id, JobState.FAILED, reason="broken")
    study.queue.finish(failed, data_folder=study.folder)
    study.revise(("A", "a2"))
    assert study.jobs() == [("a1", "cancelled"), ("a2", "waiting")]


def test_revision_the_route_does_not_read_any_more_withdraws_what_was_not_delivered(study: Study) -> None:
    study.revise(("A", "a1"))
    study.read()
    study.revise(outcome="rejected")
    assert study.outbox() == [("a1", "withdrawn")]
    (row,) = study.db.fetch("SELECT * FROM outbox")
    assert row["hold_reason"] == "withdrawn: the newest revision does not want it"


def test_reason_of_a_withdrawal_goes_when_the_same_is_said_again(study: Study) -> None:
    study.revise(("A", "a1"))
    study.read()
    study.revise(outcome="rejected")
    (row,) = study.db.fetch("SELECT job_id, sop_instance_uid, destination FROM outbox")
    with study.db.transaction() as tx:
        tx.run(Queries("wetread.jobs")["put_in_outbox"], {**dict(row), "now": "t"})
    (again,) = study.db.fetch("SELECT * FROM outbox")
    assert (again["state"], again["hold_reason"]) == ("pending", "")


def test_route_that_ignores_late_instances_reads_once(study: Study) -> None:
    study.revise(("A", "a1"), late="ignore")
    study.read()
    assert study.revise(("A", "a2"), late="ignore") == 0
    assert study.jobs() == [("a1", "done")]
    assert study.outbox() == [("a1", "pending")]
    assert study.outcomes() == ["read", "ignored"]
    assert "late" not in study.actions()


def test_route_that_notifies_of_late_instances_reads_once_and_says_so(study: Study) -> None:
    study.revise(("A", "a1"), late="notify")
    running = study.claim()
    assert study.revise(("A", "a2"), late="notify") == 0
    study.finish(running)
    assert study.jobs() == [("a1", "done")]
    assert study.outcomes() == ["read", "notified"]
    assert study.actions().count("late") == 1
    (status,) = study.db.fetch("SELECT reason FROM study_status")
    assert "late instances changed what the bundle read" in status["reason"]


@pytest.mark.parametrize("late", ["ignore", "notify"])
def test_read_that_has_not_begun_takes_late_instances_along_whatever_the_policy(study: Study, late: Late) -> None:
    study.revise(("A", "a1"), late=late)
    assert study.revise(("A", "a2"), late=late) == 1
    assert study.jobs() == [("a1", "cancelled"), ("a2", "waiting")]


@pytest.mark.parametrize("late", ["ignore", "notify"])
def test_corrected_patient_is_always_read_again(study: Study, late: Late) -> None:
    study.revise(("A", "a1"), late=late)
    study.read()
    assert study.revise(("A", "a1c"), late=late, attributes='{"patient": "B"}') == 1
    assert study.outbox() == [("a1", "withdrawn")], "results with the wrong patient must not leave any more"


def test_another_series_of_the_same_bundle_is_read_also_on_a_route_that_reads_once(study: Study) -> None:
    study.revise(("A", "a1"), late="ignore")
    study.read()
    assert study.revise(("A", "a2"), ("B", "b1"), late="ignore") == 1
    assert study.jobs() == [("a1", "done"), ("b1", "waiting")]


def test_late_localizer_changes_nothing(study: Study) -> None:
    study.revise(("A", "a1"), late="notify")
    study.read()
    assert study.revise(("A", "a1"), late="notify") == 0
    assert study.outcomes() == ["read", "unchanged"]
    assert study.outbox() == [("a1", "pending")]


def test_crash_while_a_superseded_read_ran_does_not_bring_it_back(study: Study) -> None:
    study.revise(("A", "a1"))
    study.claim()
    study.revise(("A", "a2"))
    study.queue = Queue(study.db, RetrySettings(first_delay_s=0.0), owner="next")
    study.queue.recover()
    assert study.jobs() == [("a1", "cancelled"), ("a2", "waiting")]


def test_film_that_came_again_is_succeeded_by_its_own_read_and_other_films_stay(study: Study) -> None:
    study.revise(("S/1", "f1"), ("S/2", "f2"))
    study.read()
    second = study.read()
    study.deliver()
    study.revise(("S/1", "f1"), ("S/2", "f2 again"))
    assert study.jobs() == [("f1", "done"), ("f2", "done"), ("f2 again", "waiting")]
    again = study.claim()
    (report,) = study.queue.supersedes(again.job_id)
    assert report.sop_instance_uid == f"2.25.{int(second.job_id, 16)}"


def test_late_film_replaces_no_read_of_another_one(study: Study) -> None:
    study.revise(("S/1", "f1"), late="notify")
    study.read()
    assert study.revise(("S/1", "f1"), ("S/2", "f2"), late="notify") == 1
    assert study.outcomes() == ["read", "read"]
    assert study.outbox() == [("f1", "pending")]


def test_delivered_rejection_is_named_by_the_report_of_a_later_read(study: Study) -> None:
    study.revise(("S/1", "why not"), outcome="rejected")
    rejected = study.claim()
    study.finish(rejected, state=JobState.REJECTED, code="no-suitable-series", reason="no film fits")
    assert study.jobs() == [("why not", "rejected")]
    assert study.outbox() == [("why not", "pending")]
    study.deliver()
    study.revise(("S/2", "f2"))
    (report,) = study.queue.supersedes(study.claim().job_id)
    assert report.sop_instance_uid == f"2.25.{int(rejected.job_id, 16)}"


def test_rejection_withdraws_the_undelivered_result_whose_place_it_takes(study: Study) -> None:
    study.revise(("S/1", "f1"))
    study.read()
    study.revise(("S/1", "f1 again"))
    study.finish(study.claim(), state=JobState.REJECTED, code="not-intended", reason="now the age is known")
    assert study.outbox() == [("f1", "withdrawn"), ("f1 again", "pending")]
