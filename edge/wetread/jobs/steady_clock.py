"""The clock the queue orders jobs by: it shows the wall's time at the start and never runs back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class SteadyClock:
    """Started by the wall clock, carried on by the monotonic one.

    Somebody who corrects the wall clock by a day must neither put new jobs before a day's older ones nor the reverse.
    """

    def __init__(self, *, not_before: str = "") -> None:
        """``not_before``: ISO 8601; the latest time already written, should the wall clock be behind it."""
        self._started = datetime.now(UTC)
        if not_before:
            self._started = max(self._started, datetime.fromisoformat(not_before))
        self._monotonic = time.monotonic()

    def now(self) -> str:
        """ISO 8601, UTC, milliseconds, as the database writes times."""
        passed = timedelta(seconds=time.monotonic() - self._monotonic)
        return (self._started + passed).isoformat(timespec="milliseconds")
