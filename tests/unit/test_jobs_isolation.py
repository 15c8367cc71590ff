"""A worker cannot reach the network, and does its work all the same."""

from __future__ import annotations

import multiprocessing
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from waiting import until
from wetread.jobs import isolation
from wetread.jobs.executor import LocalExecutor, WorkerSettings
from wetread.jobs.worker import Runner
from wetread.progress import Progress
from wetread.records.job import JobOutcome, JobSpec, JobState
from wetread.records.study import Patient, StudyRef

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process give up the network")


@dataclass(frozen=True)
class Calling:
    """Tries to connect to a port of the host, and writes a file; its job's reason says what came of it."""

    port: int
    folder: Path

    def __call__(self, _folder: Path, _digest: str) -> Runner:
        return _Caller(self.port, self.folder)


@dataclass(frozen=True)
class _Caller:
    port: int
    folder: Path

    def predict(self, _spec: JobSpec) -> None:
        """Nothing is known."""

    def __call__(self, spec: JobSpec, _progress: Progress) -> JobOutcome:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5):
                network = "connected"
        except OSError as exc:
            network = type(exc).__name__
        (self.folder / "written").write_text(str(os.getuid()))
        limits = resource.getrlimit(resource.RLIMIT_CORE)
        privileges = Path("/proc/self/status").read_text().partition("NoNewPrivs:\t")[2][0]
        pickles = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
        return JobOutcome(spec.job_id, JobState.DONE, reason=f"{network} {limits} {privileges} {pickles}")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def _try_to_leave(answer: multiprocessing.connection.Connection) -> None:
    answer.send(isolation._leave_network())


@pytest.fixture(scope="module")
def allowed() -> None:
    """Skips where the kernel forbids it, with the kernel's words."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_try_to_leave, args=(theirs,))
    process.start()
    problem = ours.recv()
    process.join()
    if problem:
        pytest.skip(f"this system does not let a process give up the network: {problem}")


def _outcome(opener: Callable[[Path, str], Runner]) -> JobOutcome:
    executor = LocalExecutor(WorkerSettings(), opener)
    try:
        executor.submit(JobSpec("j", StudyRef("1.2", Patient("P"), ()), (), Path("/b"), "b", Path("/out")))
        found: list[JobOutcome] = []

        def look() -> list[JobOutcome]:
            found.extend(r for r in executor.reports(0.2) if isinstance(r, JobOutcome))
            return found

        return until(look, timeout_s=40)[0]
    finally:
        executor.close()


@pytest.mark.usefixtures("allowed")
def test_worker_cannot_connect_to_the_host_and_the_job_is_done(listener: socket.socket, tmp_path: Path) -> None:
    with socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5) as reachable:
        assert reachable.getpeername() == listener.getsockname()
    outcome = _outcome(Calling(listener.getsockname()[1], tmp_path))
    assert outcome.state == JobState.DONE, outcome.reason
    assert outcome.reason == "OSError (0, 0) 1 1"  # ENETUNREACH: not even loopback is up
    assert (tmp_path / "written").read_text() == str(os.getuid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator can become somebody else")
def test_worker_of_an_ordinary_user_gives_up_the_network_too(listener: socket.socket) -> None:
    code = f"""
import ctypes, os, socket
from wetread.jobs import isolation
socket.getaddrinfo("127.0.0.1", 1)  # loads what nobody else may read
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: whoever changed users may not write its own /proc files otherwise
problem = isolation._leave_network()
print(problem or "left", os.getuid())
connection = socket.socket()  # of the new namespace
try:
    connection.connect(("127.0.0.1", {listener.getsockname()[1]}))
    print("connected")
except OSError as exc:
    print(type(exc).__name__)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    if not run.stdout.startswith("left"):
        pytest.skip(f"this system gives user namespaces to administrators only: {run.stdout.strip()}")
    assert run.stdout == "left 65534\nOSError\n"


def test_where_the_kernel_forbids_it_the_log_says_so_and_the_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(isolation, "_unshare", lambda _flags: -1)
    monkeypatch.setattr(isolation, "_without_core_dumps", lambda: None)
    monkeypatch.setattr(isolation, "_libc", lambda: type("Libc", (), {"prctl": staticmethod(lambda *_: 0)}))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")
    isolation.isolate()
    (record,) = caplog.records
    assert record.getMessage().startswith("this worker keeps the network, the system does not let it go:")
