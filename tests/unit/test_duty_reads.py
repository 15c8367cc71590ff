"""The coordinator's reads with real workers: one that dies, hangs or is cancelled stops neither queue nor service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acting import Acting
from queued import add_study, decision
from waiting import until
from wetread.config import ResultSettings
from wetread.db import Database
from wetread.jobs.executor import LocalExecutor, WorkerSettings
from wetread.jobs.queue import Queue, RetrySettings
from wetread.jobs.requests import Requests
from wetread.service.duties.reads import Reads, Waits
from wetread.store.revisions import CompletenessSettings, Revisions
from wetread.store.spool import Spool


class Station:
    """Database, queue, executor and the duty that joins them."""

    def __init__(
        self, folder: Path, *, slots: int = 1, drain_s: float = 0.0, pressing: Callable[[], bool] = lambda: False
    ) -> None:
        self.db = Database(folder / "wetread.db")
        self.queue = Queue(self.db, RetrySettings(max_attempts=3, first_delay_s=0.5), owner="me")
        self.at_once = threading.Event()
        self.executor = LocalExecutor(WorkerSettings(slots=slots, warm=3, silence_s=5.0), Acting(predicted_mb=50))
        self.reads = Reads(
            self.queue,
            self.executor,
            Revisions(self.db, Spool(folder / "spool"), CompletenessSettings()),
            warm=(),
            data_folder=folder,
            results=ResultSettings(),
            waits=Waits(drain_s, self.at_once, pressing),
        )

    def add(self, action: str, *, bundle: str = "b") -> str:
        """A job of a study of its own that acts so; its id."""
        study_id, revision_id = add_study(self.db)
        wanted = decision(action, route=action, bundle=bundle, chosen=())
        self.queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=[wanted])
        return str(self.db.fetch("SELECT id FROM jobs WHERE study_id = :id", {"id": study_id})[0]["id"])

    def state(self, job_id: str) -> str:
        return str(self.db.fetch("SELECT state FROM jobs WHERE id = :id", {"id": job_id})[0]["state"])

    def run_until(self, condition: Callable[[], object], *, timeout_s: float = 60.0, what: str = "") -> None:
        def look() -> object:
            self.reads.round()
            return condition()

        until(look, timeout_s=timeout_s, what=what)

    def run_until_begun(self, job_id: str) -> None:
        query = "SELECT progress FROM jobs WHERE id = :id"
        self.run_until(lambda: self.db.fetch(query, {"id": job_id})[0]["progress"], what="the read has begun")


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    made = Station(tmp_path)
    yield made
    made.at_once.set()
    made.reads.close()
    made.db.close()


@pytest.mark.parametrize("poison", ["segfault", "exit", "freeze", "loop", "memory"])
def test_poison_study_is_retried_alone_then_given_up_and_others_go_on_between(station: Station, poison: str) -> None:
    poisoned = station.add(poison)
    others = [station.add("work") for _ in range(3)]
    station.run_until(lambda: station.state(poisoned) == "failed", timeout_s=120, what="the poison study is given up")
    station.run_until(lambda: all(station.state(j) == "done" for j in others), what="the others are read")
    (job,) = station.db.fetch("SELECT attempts, alone, reason FROM jobs WHERE id = :id", {"id": poisoned})
    assert (job["attempts"], job["alone"]) == (3, 1)
    assert job["reason"].startswith("given up after 3 attempts")
    order = station.db.fetch("SELECT job_id, action FROM events WHERE action IN ('claimed', 'read') ORDER BY id")
    of_poison = [n for n, event in enumerate(order) if event["job_id"] == poisoned]
    assert len(of_poison) == 3
    between = {e["action"] for e in order[of_poison[0] : of_poison[1]] if e["job_id"] != poisoned}
    assert between == {"claimed", "read"}, "nothing else was read before the second attempt"


def test_nothing_runs_beside_a_job_that_killed_its_worker(tmp_path: Path) -> None:
    station = Station(tmp_path, slots=2)
    try:
        poisoned = station.add("segfault", bundle="p")
        others = [station.add("work", bundle="o") for _ in range(6)]
        station.run_until(lambda: station.state(poisoned) == "failed", timeout_s=120)
        station.run_until(lambda: all(station.state(j) == "done" for j in others))
        attempts = station.db.fetch("SELECT job_id, number, started_at, ended_at FROM attempts")
        alone = [a for a in attempts if a["job_id"] == poisoned and a["number"] > 1]
        assert len(alone) == 2
        for a in alone:
            beside = [
                b
                for b in attempts
                if b["job_id"] != poisoned and b["started_at"] < a["ended_at"] and a["started_at"] < b["ended_at"]
            ]
            assert beside == []
    finally:
        station.reads.close()
        station.db.close()


@pytest.mark.parametrize("action", ["hang", "loop"])
def test_cancel_of_a_running_job_frees_the_worker_within_two_seconds(station: Station, action: str) -> None:
    job_id = station.add(action)
    waiting = station.add("work")
    station.run_until_begun(job_id)
    asked = time.monotonic()
    Requests(station.db).cancel(job_id)
    station.run_until(lambda: station.state(job_id) == "cancelled")
    assert time.monotonic() - asked < 2.0
    station.run_until(lambda: station.state(waiting) == "done")
    assert [
        a["outcome"] for a in station.db.fetch("SELECT outcome FROM attempts WHERE job_id = :i", {"i": job_id})
    ] == ["cancelled"]


def test_stop_lets_the_read_under_way_end_and_starts_no_other(tmp_path: Path) -> None:
    station = Station(tmp_path, drain_s=60.0)
    first, second = station.add("work"), station.add("work")
    station.run_until(station.executor.is_busy)
    station.reads.close()
    assert [station.state(first), station.state(second)] == ["done", "waiting"]
    station.db.close()


def test_stop_puts_back_what_does_not_end_within_the_limit(tmp_path: Path) -> None:
    station = Station(tmp_path, drain_s=1.0)
    job_id = station.add("hang")
    station.run_until_begun(job_id)
    started = time.monotonic()
    station.reads.close()
    assert 1.0 <= time.monotonic() - started < 5.0
    (job,) = station.db.fetch("SELECT state, attempts FROM jobs WHERE id = :id", {"id": job_id})
    assert tuple(job) == ("waiting", 0)
    station.db.close()


def test_second_request_to_stop_does_not_wait_for_the_limit(tmp_path: Path) -> None:
    station = Station(tmp_path, drain_s=600.0)
    job_id = station.add("hang")
    station.run_until_begun(job_id)
    threading.Timer(0.5, station.at_once.set).start()
    started = time.monotonic()
    station.reads.close()
    assert time.monotonic() - started < 10.0
    assert station.state(job_id) == "waiting"
    station.db.close()


@pytest.mark.parametrize(("pressing", "waited_s"), [(True, [0.0]), (False, [0.1])])
def test_reports_are_not_waited_for_while_another_duty_has_work_in_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, pressing: bool, waited_s: list[float]
) -> None:
    station = Station(tmp_path, pressing=lambda: pressing)
    asked: list[float] = []
    monkeypatch.setattr(station.executor, "reports", lambda timeout_s: asked.append(timeout_s) or [])
    station.reads.round()
    assert asked == waited_s
