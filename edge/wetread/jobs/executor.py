"""Executors: who runs a ``JobSpec``. Here: worker processes on this machine, one for each bundle, kept warm."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Annotated, Protocol

from annotated_types import Ge, Gt

from wetread.errors import WorkerDied, WorkerSilent
from wetread.jobs.spawning import start_shielded
from wetread.jobs.worker import Alive, OpenRunner, Progressed, work
from wetread.records.job import JobOutcome, JobSpec, JobState

logger = logging.getLogger(__name__)

Report = Progressed | JobOutcome


class Executor(Protocol):
    """Runs jobs somewhere.

    1. ``submit`` never blocks on the work; it is called only while ``has_room``.
    2. For every submitted job ``reports`` gives exactly one ``JobOutcome`` in the end, whatever happens to the worker.
    3. An outcome for a worker that died or hangs has state WAITING: the queue decides about another attempt.
    4. ``cancel`` ends the worker of a job; the outcome is that of a worker that died.
    5. ``close`` ends everything at once; jobs under way get no outcome.
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


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    connection: Connection
    used_at: float
    alive_at: float
    job: JobSpec | None = None
    started_at: float = field(default=0.0)


class LocalExecutor:
    """Worker processes started with ``spawn``, talked to over pipes; they end when this process ends."""

    def __init__(self, settings: WorkerSettings, open_runner: OpenRunner) -> None:
        self._settings = settings
        self._open_runner = open_runner
        self._workers: dict[str, _Worker] = {}
        self._context = multiprocessing.get_context("spawn")

    def has_room(self) -> bool:
        """Whether a slot is free."""
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
        """Hand the job to the bundle's worker, which is started if it is not warm."""
        worker = self._workers.get(spec.bundle_digest)
        if worker is None or not worker.process.is_alive():
            self._make_room()
            worker = self._start(spec.bundle_folder, spec.bundle_digest)
        worker.job = spec
        worker.used_at = worker.started_at = worker.alive_at = time.monotonic()
        try:
            worker.connection.send(spec)
        except OSError:
            logger.warning("the worker ended before it got its job; the next look reports it")

    def warm_up(self, bundle_folder: Path, bundle_digest: str) -> None:
        """Start the worker of a bundle and let it load its model before the first job."""
        if bundle_digest not in self._workers and len(self._workers) < self._settings.warm:
            self._start(bundle_folder, bundle_digest)

    def reports(self, timeout_s: float) -> list[Report]:
        """Progress and outcomes; a dead, hanging or too slow worker gives a temporary outcome."""
        found: list[Report] = []
        connections = {w.connection: w for w in self._workers.values()}
        for ready in wait(list(connections), timeout_s):
            found.extend(self._drain(connections[ready]))  # type: ignore[index]
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
        worker = self._workers[bundle_digest] = _Worker(process, ours, used_at=started, alive_at=started)
        return worker

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
                    worker.job = None
                if not isinstance(message, Alive):
                    found.append(message)
        except (EOFError, OSError):
            # The pipe broke: the process is gone or on its way; _problem says so.
            worker.process.join(timeout=5.0)
        return found

    def _problem(self, worker: _Worker) -> WorkerDied | WorkerSilent | None:
        if not worker.process.is_alive():
            return WorkerDied(f"the worker process ended with exit code {worker.process.exitcode}")
        if worker.job is None:
            return None
        at = time.monotonic()
        if at - worker.started_at > self._settings.job_timeout_s:
            return WorkerSilent(f"the read took longer than {self._settings.job_timeout_s:g} s")
        if at - worker.alive_at > self._settings.silence_s:
            return WorkerSilent(f"no sign of life from the worker for {self._settings.silence_s:g} s")
        return None

    def _end(self, key: str) -> None:
        worker = self._workers.pop(key)
        worker.process.kill()
        worker.process.join()
        worker.connection.close()


def _temporary(worker: _Worker, problem: WorkerDied | WorkerSilent) -> list[Report]:
    if worker.job is None:
        return []
    return [JobOutcome(worker.job.job_id, JobState.WAITING, code=problem.code, reason=str(problem))]


__all__ = ["Executor", "LocalExecutor", "Report", "WorkerSettings"]
