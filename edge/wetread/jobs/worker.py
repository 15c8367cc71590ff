"""The worker process: one bundle, its model loaded once, one job after the other.

Before it starts a job it says what that will take, and waits until it may. It talks to nobody but the coordinator's
pipe. When that pipe breaks, the coordinator is gone and so is the worker.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from wetread import log
from wetread.errors import Misconfigured, OutOfMemory, StudyRejected, Temporary, WetreadError
from wetread.failpoint import failpoint
from wetread.jobs.isolation import end_with_parent, isolate
from wetread.memory import peak_mb, restart_peak
from wetread.progress import Progress
from wetread.records.job import JobOutcome, JobSpec, JobState, Prediction

logger = logging.getLogger(__name__)

_HEARTBEAT_S = 2.0
_NICE = 5  # below the listeners: a read may wait, a modality must not


@dataclass(frozen=True, slots=True)
class Alive:
    """Sign of life."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far a job has come."""

    job_id: str
    stage: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a job will take; the worker starts it when it is told to (``Go``)."""

    job_id: str
    prediction: Prediction | None
    """None: nothing is known yet of such a read on this machine."""


@dataclass(frozen=True, slots=True)
class Go:
    """The coordinator's answer to ``Predicted``."""

    start: bool
    """False: the job was refused, and its outcome is known."""


class Runner(Protocol):
    """One open bundle."""

    def predict(self, spec: JobSpec) -> Prediction | None:
        """What the read will take; None when nothing is known yet. Looks at headers, never at pixels.

        Raises: as the read itself, for what the headers show already.
        """
        ...

    def __call__(self, spec: JobSpec, progress: Progress) -> JobOutcome:
        """Read."""
        ...


OpenRunner = Callable[[Path, str], Runner]
"""Loads the bundle of this folder and digest; picklable, because it travels to the new process."""


def work(connection: Connection, open_runner: OpenRunner, bundle_folder: Path, bundle_digest: str) -> None:
    """Main function of a worker process: load, then answer jobs until the pipe closes."""
    log.configure()
    os.nice(_NICE)
    _be_first_victim()
    isolate()  # first: a user namespace is only for a process without threads
    end_with_parent()
    pipe = _Pipe(connection)
    threading.Thread(target=pipe.beat, daemon=True).start()
    runner: Runner | None = None
    problem: Exception | None = None
    try:
        runner = open_runner(bundle_folder, bundle_digest)
    except Exception as exc:  # recorded as the outcome of every job this worker is given
        problem = exc
    while True:
        spec = pipe.receive()
        if runner is None:
            # The next job starts a fresh process: what was wrong (weights, disk) may have been mended by then.
            pipe.send(outcome_of(spec, problem or Misconfigured("the bundle could not be opened")))
            return
        outcome = _answer(runner, spec, pipe)
        if outcome is not None:
            failpoint("job.read")
            pipe.send(outcome)


def outcome_of(spec: JobSpec, error: Exception) -> JobOutcome:
    """The class of the error decides: rejected, wait and try again, or failed."""
    if isinstance(error, StudyRejected):
        return JobOutcome(spec.job_id, JobState.REJECTED, code=error.code, reason=str(error))
    if isinstance(error, Temporary):
        return JobOutcome(spec.job_id, JobState.WAITING, code=error.code, reason=str(error))
    if isinstance(error, MemoryError):
        return JobOutcome(spec.job_id, JobState.WAITING, code=OutOfMemory().code, reason="the read ran out of memory")
    if isinstance(error, WetreadError):
        return JobOutcome(spec.job_id, JobState.FAILED, code=error.code, reason=str(error))
    # An error we did not foresee may quote data: its class and place are kept, its text is not.
    return JobOutcome(spec.job_id, JobState.FAILED, code="unforeseen", reason=log.place_of(error))


def _answer(runner: Runner, spec: JobSpec, pipe: _Pipe) -> JobOutcome | None:
    """Say what the job will take, wait until there is room, do it; None when the coordinator refused it."""
    restart_peak()
    try:
        prediction = runner.predict(spec)
        pipe.send(Predicted(spec.job_id, prediction))
        if not pipe.receive_go().start:
            return None
        outcome = runner(spec, lambda stage, fraction: pipe.send(Progressed(spec.job_id, stage, fraction)))
        outcome = replace(outcome, prediction=prediction)
    except Exception as exc:  # the outcome is recorded
        outcome = outcome_of(spec, exc)
    return replace(outcome, peak_memory_mb=peak_mb())


def _be_first_victim() -> None:
    """Should the kernel run out of memory before the coordinator notices, it ends a worker and never a listener."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    except OSError:
        logger.warning("this system does not let a worker say that it may be ended first when memory runs out")


class _Pipe:
    """The connection, shared by the working and the heartbeat thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def receive(self) -> JobSpec:
        try:
            spec: JobSpec = self._connection.recv()
        except EOFError:
            os._exit(0)
        return spec

    def receive_go(self) -> Go:
        try:
            go: Go = self._connection.recv()
        except EOFError:
            os._exit(0)
        return go

    def send(self, message: object) -> None:
        with self._lock:
            try:
                self._connection.send(message)
            except OSError:
                # The coordinator is gone. What this job computed would reach nobody: the next one does it again.
                os._exit(0)

    def beat(self) -> None:
        stop = threading.Event()
        while not stop.wait(_HEARTBEAT_S):
            self.send(Alive())
