"""The executor: every job gets an outcome, whatever happens to its worker."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from acting import Acting
from waiting import until
from wetread.jobs.executor import Held, LocalExecutor, WorkerSettings
from wetread.jobs.worker import Predicted, Progressed
from wetread.records.job import JobOutcome, JobSpec, JobState
from wetread.records.study import Patient, StudyRef


def spec(action: str, *, job_id: str = "j", digest: str = "b", out: Path = Path("/out")) -> JobSpec:
    return JobSpec(job_id, StudyRef("1.2", Patient("P"), ()), (), Path("/b"), digest, out, route=action)


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    running = LocalExecutor(WorkerSettings(job_timeout_s=8.0, silence_s=5.0), Acting())
    yield running
    running.close()


def outcome(executor: LocalExecutor) -> JobOutcome:
    """The next outcome."""
    found: list[JobOutcome] = []

    def look() -> list[JobOutcome]:
        found.extend(r for r in executor.reports(0.2) if isinstance(r, JobOutcome))
        return found

    return until(look, timeout_s=40)[0]


@pytest.mark.parametrize(
    ("action", "state", "code"),
    [
        ("reject", JobState.REJECTED, "missing-slice"),
        ("later", JobState.WAITING, "spool-unavailable"),
        ("unforeseen", JobState.FAILED, "unforeseen"),
        ("memory", JobState.WAITING, "out-of-memory"),
        ("die", JobState.WAITING, "worker-died"),
        ("segfault", JobState.WAITING, "worker-died"),
        ("exit", JobState.WAITING, "worker-died"),
        ("freeze", JobState.WAITING, "worker-silent"),
        ("loop", JobState.WAITING, "worker-silent"),
        ("hang", JobState.WAITING, "worker-silent"),
    ],
)
def test_class_of_the_error_decides(executor: LocalExecutor, action: str, state: JobState, code: str) -> None:
    executor.submit(spec(action))
    ended = outcome(executor)
    assert (ended.state, ended.code, ended.job_id) == (state, code, "j")
    assert executor.has_room()
    assert "Petra" not in ended.reason


def test_worker_stays_warm_and_a_dead_one_is_replaced(executor: LocalExecutor) -> None:
    pids = []
    for action in ("work", "work", "die", "work"):
        executor.submit(spec(action))
        ended = outcome(executor)
        if action == "work":
            pids.append(ended.reason)
    assert pids[0] == pids[1]
    assert pids[2] != pids[0]


def test_bundles_do_not_share_a_process_and_the_least_used_is_ended(executor: LocalExecutor) -> None:
    pids = {}
    for digest in ("a", "b", "c", "b"):
        executor.submit(spec("work", digest=digest))
        pids.setdefault(digest, []).append(outcome(executor).reason)
    assert len({p[0] for p in pids.values()}) == 3
    assert pids["b"][0] == pids["b"][1]
    until(lambda: not Path(f"/proc/{pids['a'][0]}").exists(), what="the first worker was ended")


def test_progress_arrives_before_the_outcome(executor: LocalExecutor) -> None:
    executor.submit(spec("work"))
    reports: list[object] = []

    def done() -> bool:
        reports.extend(executor.reports(0.2))
        return any(isinstance(r, JobOutcome) for r in reports)

    until(done, timeout_s=40)
    assert reports[:2] == [Predicted("j", None), Progressed("j", "images", 0.1)]
    assert isinstance(reports[-1], JobOutcome)
    assert reports[-1].peak_memory_mb > 1


def test_bundle_that_cannot_be_opened_fails_its_jobs_with_the_reason() -> None:
    running = LocalExecutor(WorkerSettings(), Acting(broken=True))
    try:
        running.submit(spec("work"))
        ended = outcome(running)
    finally:
        running.close()
    assert (ended.state, ended.code) == (JobState.FAILED, "engine-disagrees")
    assert "Dice 0.5" in ended.reason


def test_two_jobs_of_one_bundle_at_a_time_have_a_worker_each() -> None:
    running = LocalExecutor(WorkerSettings(slots=2), Acting(predicted_mb=50))
    try:
        running.submit(spec("hang", job_id="first"))
        assert running.has_room()
        running.submit(spec("work", job_id="second"))
        assert outcome(running).job_id == "second"
        running.cancel("first")
        ended = outcome(running)
        assert (ended.job_id, ended.code) == ("first", "worker-died")
    finally:
        running.close()


@pytest.mark.parametrize("action", ["hang", "loop"])
def test_cancelled_job_frees_its_slot_whatever_the_worker_does(executor: LocalExecutor, action: str) -> None:
    executor.submit(spec(action))
    until(lambda: executor.reports(0.2), timeout_s=40, what="the job has begun")
    asked = time.monotonic()
    executor.cancel("another job")
    assert not executor.has_room()
    executor.cancel("j")
    assert outcome(executor).code == "worker-died"
    assert executor.has_room()
    assert time.monotonic() - asked < 2.0


def test_worker_in_a_loop_in_c_ends_with_its_parent() -> None:
    """It cannot notice the broken pipe: the loop holds the interpreter's lock."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    with parent.stdout:
        worker = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        until(lambda: not _runs(worker), what="the worker ended")


def _runs(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except FileNotFoundError:
        return False


def reports_until(executor: LocalExecutor, found: list[object], wanted: Callable[[object], bool]) -> None:
    """Collect reports until one is what is wanted."""

    def look() -> bool:
        found.extend(executor.reports(0.2))
        return any(map(wanted, found))

    until(look, timeout_s=40)


def test_read_that_never_fits_is_refused_with_the_reason_and_not_tried_again() -> None:
    running = LocalExecutor(WorkerSettings(memory_mb=1000), Acting(predicted_mb=1500))
    try:
        running.submit(spec("work"))
        ended = outcome(running)
        assert (ended.state, ended.code) == (JobState.REJECTED, "too-large-for-machine")
        assert ended.reason.startswith("reading it takes about 1500 MB of memory (a test), 1000 MB are allowed here")
        assert running.has_room()
    finally:
        running.close()


def test_reads_that_do_not_fit_beside_one_another_start_in_order_as_memory_becomes_free(tmp_path: Path) -> None:
    """600 of 1000 MB each: three workers, never two at work, and the first that waits is the next to start."""
    running = LocalExecutor(WorkerSettings(slots=4, warm=4, memory_mb=1000), Acting(predicted_mb=600))
    found: list[object] = []
    try:
        for name in ("one", "two", "three"):
            assert running.has_room()
            running.submit(spec("until", job_id=name, digest=name, out=tmp_path / name))
            if name == "one":
                reports_until(running, found, lambda r: isinstance(r, Progressed))
        reports_until(running, found, lambda r: isinstance(r, Held))
        assert not running.has_room()
        reports_until(running, found, lambda _: len([r for r in found if isinstance(r, Predicted)]) == 3)
        first, second, third = (r.job_id for r in found if isinstance(r, Predicted))
        held = [r for r in found if isinstance(r, Held)]
        assert [h.job_id for h in held] == [second]
        assert held[0].reason.startswith("waiting for memory: it takes about 600 MB, ")
        for name in (first, second, third):
            reports_until(running, found, lambda r, name=name: isinstance(r, Progressed) and r.job_id == name)
            assert started(found)[-1] == name
            (tmp_path / name).touch()
            reports_until(running, found, lambda r, name=name: isinstance(r, JobOutcome) and r.job_id == name)
        assert started(found) == [first, second, third]
    finally:
        running.close()


def started(found: list[object]) -> list[str]:
    return [r.job_id for r in found if isinstance(r, Progressed)]


def test_read_of_which_nothing_is_known_runs_alone(tmp_path: Path) -> None:
    running = LocalExecutor(WorkerSettings(slots=2, warm=2), Acting())
    found: list[object] = []
    try:
        running.submit(spec("until", job_id="one", digest="one", out=tmp_path / "one"))
        reports_until(running, found, lambda r: isinstance(r, Progressed))
        running.submit(spec("work", job_id="two", digest="two"))
        reports_until(running, found, lambda r: isinstance(r, Held))
        assert "so it runs alone" in next(r.reason for r in found if isinstance(r, Held))
        (tmp_path / "one").touch()
        reports_until(running, found, lambda r: isinstance(r, JobOutcome) and r.job_id == "two")
    finally:
        running.close()


def test_idle_workers_make_room_before_a_read_waits() -> None:
    running = LocalExecutor(WorkerSettings(memory_mb=400), Acting(predicted_mb=395))
    try:
        running.submit(spec("work", digest="idle"))
        pid = outcome(running).reason
        running.submit(spec("work", digest="next"))
        assert outcome(running).state is JobState.DONE
        assert not Path(f"/proc/{pid}").exists()
    finally:
        running.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_read_that_takes_more_memory_than_it_may_is_ended_with_the_figures() -> None:
    running = LocalExecutor(WorkerSettings(memory_mb=400), Acting(predicted_mb=300))
    try:
        running.submit(spec("grow"))
        ended = outcome(running)
        assert (ended.state, ended.code) == (JobState.WAITING, "out-of-memory")
        used, allowed = map(int, re.findall(r"used (\d+) of (\d+) MB", ended.reason)[0])
        assert allowed == 400 < used < 2000
        running.submit(spec("work"))
        assert outcome(running).state is JobState.DONE
    finally:
        running.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kernel_would_end_a_worker_before_anything_else(executor: LocalExecutor) -> None:
    executor.submit(spec("work"))
    pid = outcome(executor).reason
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"
    assert Path("/proc/self/oom_score_adj").read_text().strip() != "1000"


def _be_the_parent() -> None:
    executor = LocalExecutor(WorkerSettings(), Acting())
    executor.submit(spec("loop"))
    until(lambda: executor.reports(0.2), timeout_s=40)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)  # noqa: T201
    threading.Event().wait()


if __name__ == "__main__":
    _be_the_parent()
