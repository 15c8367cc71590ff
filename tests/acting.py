"""A runner that does what its job's route says: works, fails, hangs, dies; in a real worker process."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from waiting import until
from wetread.errors import EngineDisagrees, MissingSlice, SpoolUnavailable
from wetread.jobs.worker import Runner
from wetread.progress import Progress
from wetread.records.job import JobOutcome, JobSpec, JobState, Prediction


@dataclass(frozen=True)
class Acting:
    """Opened in the worker process."""

    broken: bool = False
    predicted_mb: int | None = None

    def __call__(self, _folder: Path, _digest: str) -> Runner:
        if self.broken:
            raise EngineDisagrees("the engine gives Dice 0.5, expected at least 0.999")
        return ActingRunner(self.predicted_mb)


@dataclass(frozen=True)
class ActingRunner:
    """The job's route says what it does."""

    predicted_mb: int | None

    def predict(self, _spec: JobSpec) -> Prediction | None:
        return None if self.predicted_mb is None else Prediction(self.predicted_mb, 1.0, "a test")

    def __call__(self, spec: JobSpec, progress: Progress) -> JobOutcome:
        return _act(spec, progress)


def _act(spec: JobSpec, progress: Progress) -> JobOutcome:
    progress("images", 0.1)
    actions: dict[str, Callable[[], object]] = {
        "reject": lambda: _raise(MissingSlice("one slice is missing")),
        "later": lambda: _raise(SpoolUnavailable("disk full")),
        "unforeseen": lambda: _raise(KeyError("Phantom^Petra")),
        "memory": lambda: _raise(MemoryError()),
        "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "segfault": lambda: ctypes.string_at(0),
        "exit": lambda: os._exit(3),
        "hang": lambda: threading.Event().wait(),
        "freeze": lambda: os.kill(os.getpid(), signal.SIGSTOP),
        # Backtracks for longer than any test, in C, with the interpreter's lock: no heartbeat gets through.
        "loop": lambda: re.match(r"(a+)+$", "a" * 60 + "b"),
        "grow": _grow,
        "until": lambda: until(spec.out_folder.exists),
    }
    actions.get(spec.route, lambda: None)()
    return JobOutcome(spec.job_id, JobState.DONE, reason=str(os.getpid()))


def _grow() -> None:
    """Take memory for real, 32 MB at a time, up to 2 GB: more than any limit of these tests."""
    held = []
    for _ in range(64):
        held.append(bytearray(os.urandom(1)) * (32 << 20))
    threading.Event().wait()


def _raise(error: Exception) -> None:
    raise error
