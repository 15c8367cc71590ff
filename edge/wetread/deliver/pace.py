"""When to try again: the clocks delivery looks at, and how long it waits after a failure."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

from annotated_types import Ge, Gt


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """``[delivery]``: how patient we are with destinations."""

    first_delay_s: Annotated[float, Ge(0)] = 5.0
    """Wait after the first failure; doubled for each further one, and shortened by up to half at random."""
    max_delay_s: Annotated[float, Ge(0)] = 600.0
    """Longest wait between two tries. There is no last try."""
    refused_delay_s: Annotated[float, Ge(0)] = 3600.0
    """Wait after an object was refused for what it is: only a change at the destination helps."""
    poll_s: Annotated[float, Gt(0)] = 0.25
    """How often an idle destination looks for new results."""
    stale_after_h: Annotated[float, Ge(0)] = 4.0
    """Results not sent within this time after the last image are held for a person. 0: never."""
    verify_patience_s: Annotated[float, Ge(0)] = 600.0
    """How long a destination may take until an object it took can be found there; then it is sent again."""
    commitment_wait_s: Annotated[float, Ge(0)] = 3600.0
    """How long a storage commitment report may take; then it is asked for again."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Now: for what is written down, and for what is waited for. Both can be simulated."""

    utc: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic

    def stamp(self, delay_s: float = 0.0) -> str:
        """This moment plus ``delay_s`` as the database writes it: ISO 8601, UTC, milliseconds."""
        return (self.utc() + timedelta(seconds=delay_s)).isoformat(timespec="milliseconds")

    def age_s(self, stamp: str) -> float:
        """Seconds since this stamp."""
        return (self.utc() - datetime.fromisoformat(stamp)).total_seconds()


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a destination is tried: the site's settings, the clocks, and chance."""

    settings: DeliverySettings
    clock: Clock = field(default_factory=Clock)
    jitter: Callable[[], float] = random.random
    """0 to 1: boxes that lost the same PACS together do not all come back together."""

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after this many failures before the last one: exponential, less up to half of it."""
        whole = min(self.settings.first_delay_s * 2.0 ** min(failures, 30), self.settings.max_delay_s)
        return whole * (1.0 - self.jitter() / 2.0)

    @property
    def longest_s(self) -> float:
        """No wait is longer: one that seems so comes from a clock that was set back."""
        return max(self.settings.max_delay_s, self.settings.refused_delay_s)
