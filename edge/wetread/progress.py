"""How far something has come that takes time, and how long each stage of a read took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from wetread.records.job import StageTiming

Progress = Callable[[str, float], None]
"""Told what is being done, and how far the whole has come, 0 to 1."""


def unheard(_what: str, _share: float) -> None:
    """Where nobody wants to be told."""


@dataclass(slots=True)
class StageClock:
    """Tells that a stage begins, and notes what it took when it has ended."""

    progress: Progress
    share: Mapping[str, float]
    """How far the read has come when a stage begins, 0 to 1."""
    timings: list[StageTiming] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Around the stage; one that fails leaves no timing."""
        self.progress(name, self.share[name])
        started = time.perf_counter()
        yield
        self.timings.append(StageTiming(name, time.perf_counter() - started))
