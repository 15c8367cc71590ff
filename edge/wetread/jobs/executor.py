"""Executors: who runs a ``JobSpec``. Here: worker processes on this machine, one for each bundle, kept warm."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Annotated, Protocol

from annotated_types import Ge, Gt

from wetread.errors import MemoryShort, OutOfMemory, Temporary, TooLargeForMachine, WorkerDied, WorkerSilent
from wetread.jobs.admission import Load, budget, check_ever, check_now
from wetread.jobs.spawning import start_shielded
from wetread.jobs.worker import Alive, Go, OpenRunner, Predicted, Progressed, outcome_of, work
from wetread.memory import available_mb, resident_mb
from wetread.records.job import JobOutcome, JobSpec, JobState, Prediction

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A job that is predicted and must wait for memory."""

    job_id: str
    reason: str


Report = Predicted | Held | Progressed | JobOutcome


class Executor(Protocol):
    """Runs jobs somewhere.

    1. ``submit`` never blocks on the work; it is called only while ``has_room``.
    2. For every submitted job ``reports`` gives exactly one ``JobOutcome`` in the end, whatever happens to the worker.
    3. An outcome for a worker that died or hangs has state WAITING: the queue decides about another attempt.
    4. ``cancel`` ends the worker of a job; the outcome is that of a worker that died.
    5. A job starts when what it is predicted to take fits beside those that run; one that never fits is refused
       (``TooLargeForMachine``). Jobs that wait for memory start in the order in which they came, before any other.
    6. ``close`` ends everything at once; jobs under way get no outcome.
    """

    def has_room(self) -> bool:
        """Whether one more job can be submitted."""
        ...

    def is_busy(self) -> bool:
        """Whether a submitted job has no outcome yet."""
        ...

    def submit(self, spec: JobSpec) -> None:
        """Start a job."""
        ...

    def cancel(self, job_id: str) -> None:
        """End a job under way; nothing happens when there is no such job."""
        ...

    def reports(self, timeout_s: float) -> Iterable[Report]:
        """What happened since the last call; waits at most ``timeout_s`` for something."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """``[jobs.workers]``: the worker processes."""

    slots: Annotated[int, Ge(1)] = 1
    """Jobs at one time. One: two networks on one device are slower than one after the other."""
    warm: Annotated[int, Ge(1)] = 2
    """Worker processes kept with their model loaded; the least recently used is ended first."""
    job_timeout_s: Annotated[float, Gt(0)] = 1800.0
    """A job that takes longer is killed and tried again."""
    silence_s: Annotated[float, Ge(5)] = 60.0
    """A worker without a sign of life for this long is killed."""
    memory_mb: Annotated[int, Ge(0)] = 0
    """Memory for all workers together (MiB); 0: what the machine and its control groups allow, less a reserve."""


class _Phase(Enum):
    IDLE = auto()
    OPENING = auto()
    """It has a job, and has not said yet what that will take."""
    WAITING = auto()
    """For memory."""
    READING = auto()


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    connection: Connection
    bundle_digest: str
    used_at: float
    alive_at: float
    job: JobSpec | None = None
    started_at: float = field(default=0.0)
    phase: _Phase = field(default=_Phase.IDLE)
    prediction: Prediction | None = None
    waits_since: float = field(default=0.0)
    problem: Temporary | None = None
    """Why it is to be ended."""
    is_held: bool = field(default=False)
    """Somebody was told that it waits."""

    @property
    def used_mb(self) -> float:
        return resident_mb(self.process.pid)

    @property
    def load(self) -> Load:
        if self.phase is not _Phase.READING:
            return Load(self.used_mb, 0)
        return Load(self.used_mb, None if self.prediction is None else self.prediction.memory_mb)

    @property
    def over_prediction_mb(self) -> float:
        return self.used_mb - (self.prediction.memory_mb if self.prediction is not None else 0)


class LocalExecutor:
    """Worker processes started with ``spawn``, talked to over pipes; they end when this process ends."""

    def __init__(self, settings: WorkerSettings, open_runner: OpenRunner) -> None:
        self._settings = settings
        self._open_runner = open_runner
        self._workers: dict[str, _Worker] = {}
        self._context = multiprocessing.get_context("spawn")
        self._budget = budget(settings.memory_mb)

    def has_room(self) -> bool:
        """Whether a slot is free, and no job waits for memory: one that came later would take what it waits for."""
        if any(w.phase is _Phase.WAITING for w in self._workers.values()):
            return False
        return sum(w.job is not None for w in self._workers.values()) < self._settings.slots

    def is_busy(self) -> bool:
        """Whether a job is under way."""
        return any(w.job is not None for w in self._workers.values())

    def cancel(self, job_id: str) -> None:
        """Kill the worker of this job, whatever it is doing; the next look at ``reports`` finds it dead."""
        for worker in self._workers.values():
            if worker.job is not None and worker.job.job_id == job_id:
                worker.process.kill()

    def submit(self, spec: JobSpec) -> None:
        """Hand the job to an idle worker of the bundle; one is started if none is warm."""
        worker = self._idle(spec.bundle_digest)
        if worker is None:
            self._make_room()
            worker = self._start(spec.bundle_folder, spec.bundle_digest)
        worker.job, worker.phase, worker.prediction = spec, _Phase.OPENING, None
        worker.used_at = worker.started_at = worker.alive_at = time.monotonic()
        try:
            worker.connection.send(spec)
        except OSError:
            logger.warning("the worker ended before it got its job; the next look reports it")

    def warm_up(self, bundle_folder: Path, bundle_digest: str) -> None:
        """Start the worker of a bundle and let it load its model before the first job."""
        known = {w.bundle_digest for w in self._workers.values()}
        if bundle_digest not in known and len(self._workers) < self._settings.warm:
            self._start(bundle_folder, bundle_digest)

    def reports(self, timeout_s: float) -> list[Report]:
        """Progress and outcomes; a dead, hanging or too slow worker gives a temporary outcome."""
        found: list[Report] = []
        connections = {w.connection: w for w in self._workers.values()}
        for ready in wait(list(connections), timeout_s):
            found.extend(self._drain(connections[ready]))  # type: ignore[index]
        found.extend(self._admitted())
        self._free_memory()
        for key, worker in list(self._workers.items()):
            problem = self._problem(worker)
            if problem is not None:
                found.extend(_temporary(worker, problem))
                self._end(key)
        return found

    def close(self) -> None:
        """Kill every worker."""
        for key in list(self._workers):
            self._end(key)

    def _start(self, bundle_folder: Path, bundle_digest: str) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=work, args=(theirs, self._open_runner, bundle_folder, bundle_digest), daemon=True
        )
        start_shielded(process)
        theirs.close()
        started = time.monotonic()
        worker = _Worker(process, ours, bundle_digest, used_at=started, alive_at=started)
        self._workers[f"{bundle_digest} {process.pid}"] = worker
        return worker

    def _idle(self, bundle_digest: str) -> _Worker | None:
        """One job at a time for each worker: another one beside it takes its place in all that is watched."""
        for worker in self._workers.values():
            if worker.bundle_digest == bundle_digest and worker.job is None and worker.process.is_alive():
                return worker
        return None

    def _make_room(self) -> None:
        idle = sorted((w.used_at, key) for key, w in self._workers.items() if w.job is None)
        while len(self._workers) >= self._settings.warm and idle:
            self._end(idle.pop(0)[1])

    def _drain(self, worker: _Worker) -> list[Report]:
        found: list[Report] = []
        try:
            while worker.connection.poll():
                message = worker.connection.recv()
                worker.alive_at = time.monotonic()
                if isinstance(message, JobOutcome):
                    worker.job, worker.phase = None, _Phase.IDLE
                elif isinstance(message, Predicted):
                    worker.phase, worker.prediction = _Phase.WAITING, message.prediction
                    worker.waits_since, worker.is_held = time.monotonic(), False
                if not isinstance(message, Alive):
                    found.append(message)
        except (EOFError, OSError):
            # The pipe broke: the process is gone or on its way; _problem says so.
            worker.process.join(timeout=5.0)
        return found

    def _admitted(self) -> Iterator[Report]:
        """Start the jobs that wait for memory, the oldest first, as far as it goes."""
        waiting = [w for w in self._workers.values() if w.phase is _Phase.WAITING]
        for worker in sorted(waiting, key=lambda w: w.waits_since):
            try:
                check_ever(worker.prediction, self._budget)
                others = [w.load for w in self._workers.values() if w is not worker]
                check_now(worker.prediction, self._budget, used_mb=worker.used_mb, others=others)
            except TooLargeForMachine as exc:
                yield from self._refused(worker, exc)
            except MemoryShort as exc:
                if self._end_idle():
                    return  # what this frees is seen at the next look
                if not worker.is_held and worker.job is not None:
                    worker.is_held = True
                    yield Held(worker.job.job_id, str(exc))
                return
            else:
                worker.phase, worker.started_at = _Phase.READING, time.monotonic()
                _answer(worker, Go(start=True))

    def _refused(self, worker: _Worker, error: TooLargeForMachine) -> Iterator[Report]:
        if worker.job is not None:
            yield outcome_of(worker.job, error)
        worker.job, worker.phase = None, _Phase.IDLE
        _answer(worker, Go(start=False))

    def _end_idle(self) -> bool:
        """End the worker without a job that was used least lately; whether there was one."""
        idle = sorted((w.used_at, key) for key, w in self._workers.items() if w.job is None)
        for _, key in idle[:1]:
            self._end(key)
        return bool(idle)

    def _free_memory(self) -> None:
        """The last resort before the kernel's: idle workers go; then the one furthest over what it was predicted."""
        used = sum(w.used_mb for w in self._workers.values())
        free = available_mb()
        if (used <= self._budget.allowed_mb and free >= self._budget.floor_mb) or self._end_idle() or not self._workers:
            return
        worst = max(self._workers.values(), key=lambda w: w.over_prediction_mb)
        beside = sum(w.used_mb for w in self._workers.values() if w is not worst)
        allowed = self._budget.allowed_mb - beside
        left = f", {free:.0f} MB are left on the machine" if free < self._budget.floor_mb else ""
        worst.problem = OutOfMemory(f"out of memory: the read used {worst.used_mb:.0f} of {allowed:.0f} MB{left}")

    def _problem(self, worker: _Worker) -> Temporary | None:
        if worker.problem is not None:
            return worker.problem
        if not worker.process.is_alive():
            return WorkerDied(_how_it_ended(worker.process.exitcode))
        if worker.job is None or worker.phase is _Phase.WAITING:
            return self._silence(worker)
        at = time.monotonic()
        if at - worker.started_at > self._settings.job_timeout_s:
            return WorkerSilent(f"the read took longer than {self._settings.job_timeout_s:g} s")
        return self._silence(worker)

    def _silence(self, worker: _Worker) -> Temporary | None:
        if worker.job is not None and time.monotonic() - worker.alive_at > self._settings.silence_s:
            return WorkerSilent(f"no sign of life from the worker for {self._settings.silence_s:g} s")
        return None

    def _end(self, key: str) -> None:
        worker = self._workers.pop(key)
        worker.process.kill()
        worker.process.join()
        worker.connection.close()


def _answer(worker: _Worker, go: Go) -> None:
    try:
        worker.connection.send(go)
    except OSError:
        logger.warning("the worker ended while it waited for memory; the next look reports it")


def _how_it_ended(exit_code: int | None) -> str:
    said = f"the worker process ended with exit code {exit_code}"
    return f"{said}: killed, perhaps by the kernel because memory ran out" if exit_code == -signal.SIGKILL else said


def _temporary(worker: _Worker, problem: Temporary) -> list[Report]:
    if worker.job is None:
        return []
    return [JobOutcome(worker.job.job_id, JobState.WAITING, code=problem.code, reason=str(problem))]


__all__ = ["Executor", "Held", "LocalExecutor", "Report", "WorkerSettings"]
