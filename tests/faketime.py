"""Both clocks of the queue in a test's hand: the monotonic one only runs, the wall's may jump."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from unittest import mock

_START = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


class FakeTime:
    """Time stands still until it is told to pass."""

    def __init__(self) -> None:
        self.monotonic_s = 1000.0
        self.wall = _START

    def pass_s(self, seconds: float) -> None:
        """Time passes."""
        self.monotonic_s += seconds
        self.wall += timedelta(seconds=seconds)

    def jump_s(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall += timedelta(seconds=seconds)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """What database and queue see inside."""
        clock = self

        class Wall(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return clock.wall.astimezone(tz)

        class Monotonic:
            def monotonic(self) -> float:
                return clock.monotonic_s

            def __getattr__(self, name: str) -> object:
                return getattr(time, name)

        with (
            mock.patch("wetread.db.datetime", Wall),
            mock.patch("wetread.jobs.steady_clock.datetime", Wall),
            mock.patch("wetread.jobs.steady_clock.time", Monotonic()),
        ):
            yield
