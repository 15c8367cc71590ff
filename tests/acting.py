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

from wetread.errors import EngineDisagrees, MissingSlice, SpoolUnavailable
from wetread.jobs.worker import Progress, Runner
from wetread.records.job import JobOutcome, JobSpec, JobState


@dataclass(frozen=True)
class Acting:
    """Opened in the worker process."""

    broken: bool = False

    def __call__(self, _folder: Path, _digest: str) -> Runner:
        if self.broken:
            raise EngineDisagrees("the engine gives Dice 0.5, expected at least 0.999")
        return _act


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
    }
    actions.get(spec.route, lambda: None)()
    return JobOutcome(spec.job_id, JobState.DONE, reason=str(os.getpid()))


def _raise(error: Exception) -> None:
    raise error
