"""What is asked of the queue: reads to be done, with what the route said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Late = Literal["reread", "ignore", "notify"]
"""What a route does when instances come after its read has begun."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """One read to be done."""

    route: str
    mode: str
    destinations: tuple[str, ...]
    bundle: str
    bundle_version: str
    bundle_digest: str
    bundle_folder: Path
    chosen: tuple[tuple[str, str, str], ...]
    """``(input name, Series Instance UID, reason)``."""
    input_digest: str

    @property
    def key(self) -> tuple[str, str]:
        """The same read of one study on one route is done once."""
        return self.bundle_digest, self.input_digest

    @property
    def series(self) -> frozenset[str]:
        """The series it reads."""
        return frozenset(uid for _input, uid, _reason in self.chosen)


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """What a route said about a revision, and the jobs that follow from it."""

    route: str
    outcome: str
    reason: str
    verdicts: tuple[str, ...]
    jobs: tuple[NewJob, ...] = ()
    late: Late = "reread"
