"""Which read may start with the memory there is: from what it is predicted to take, before it takes it.

Nothing here waits or kills: the executor asks for every job that is ready, and again when something has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wetread.errors import MemoryShort, TooLargeForMachine
from wetread.memory import available_mb, total_mb
from wetread.records.job import Prediction

_KEPT_FREE_MB, _KEPT_FREE_SHARE = 1024, 0.125
"""For listeners, coordinator and file cache: the smaller of both is not given to workers by default."""
_FLOOR_MB, _FLOOR_SHARE = 256, 0.02
"""A machine with less than the smaller of both is about to kill somebody."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Memory for all worker processes together, in MB (2**20 bytes); infinite on a system that does not say."""

    allowed_mb: float
    floor_mb: float
    """What must stay available on the machine."""


@dataclass(frozen=True, slots=True)
class Load:
    """One worker process beside the one that asks."""

    used_mb: float
    """Resident now."""
    promised_mb: float | None
    """What its read is predicted to take; 0 without a read, None for a read of which nothing is known."""

    @property
    def to_come_mb(self) -> float:
        """What it may still take."""
        return max(0.0, (self.promised_mb or 0.0) - self.used_mb)


def budget(memory_mb: int) -> Budget:
    """``memory_mb`` of the settings, never more than machine and control groups allow; 0: what those allow."""
    total = total_mb()
    allowed = min(memory_mb, total) if memory_mb else total - min(_KEPT_FREE_MB, total * _KEPT_FREE_SHARE)
    return Budget(allowed, min(_FLOOR_MB, total * _FLOOR_SHARE))


def check_ever(prediction: Prediction | None, memory: Budget) -> None:
    """Raises: ``TooLargeForMachine`` for a read that does not fit even with nothing beside it."""
    if prediction is not None and prediction.memory_mb > memory.allowed_mb:
        raise TooLargeForMachine(
            f"reading it takes about {prediction.memory_mb} MB of memory ({prediction.basis}), {memory.allowed_mb:.0f} "
            "MB are allowed here: read it on a machine with more memory"
        )


def check_now(prediction: Prediction | None, memory: Budget, *, used_mb: float, others: Sequence[Load] = ()) -> None:
    """``used_mb``: what the process that asks has now, which is part of its prediction.

    A read of which nothing is known starts only alone, and nothing starts beside it.
    Raises: ``MemoryShort`` when it must wait.
    """
    busy = [load for load in others if load.promised_mb != 0]
    if busy and (prediction is None or any(load.promised_mb is None for load in busy)):
        unknown = "it" if prediction is None else "a read that runs"
        raise MemoryShort(f"waiting for memory: what {unknown} takes is not known yet, so it runs alone")
    needed = used_mb if prediction is None else float(prediction.memory_mb)
    rest = memory.allowed_mb - sum(load.used_mb + load.to_come_mb for load in others)
    free = available_mb() + used_mb - memory.floor_mb - sum(load.to_come_mb for load in others)
    if needed > min(rest, free):
        raise MemoryShort(
            f"waiting for memory: it takes about {needed:.0f} MB, {max(0, min(rest, free)):.0f} MB are free"
        )
