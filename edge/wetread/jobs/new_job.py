"""What is asked of the queue: reads to be done, with what the route said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from wetread.records.job import ReadOptions

Late = Literal["reread", "ignore", "notify"]
"""What a route does when instances come after its read has begun."""
Send = Literal["at once", "after signing"]
"""When results may leave: at once, marked as not reviewed, or only after a person signed."""
BUTTON = "button"
"""What stands in place of a route at a read that a person asked for."""


class Chosen(NamedTuple):
    """What feeds one input; a row of it is a list in the database."""

    input_name: str
    series_instance_uid: str
    reason: str
    sop_instance_uid: str = ""
    """Of the one film that is read; '': the whole series."""

    @property
    def place(self) -> tuple[str, str]:
        """Series, and film if it is one."""
        return self.series_instance_uid, self.sop_instance_uid


def chosen_from_json(text: str) -> tuple[Chosen, ...]:
    """What a job's row keeps; jobs of version 0.1.0 have no films."""
    return tuple(Chosen(*row) for row in json.loads(text))


def places(chosen: str) -> frozenset[tuple[str, str]]:
    """The series and films that a job of this ``chosen`` reads."""
    return frozenset(one.place for one in chosen_from_json(chosen))


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
    chosen: tuple[Chosen, ...]
    input_digest: str
    options: ReadOptions = ReadOptions()
    send: Send = "at once"
    priority: int = 0
    """Of the job itself; that of its study counts if it is higher."""
    asked_by: str = ""
    """The person who wants it; '' for a route."""

    @property
    def key(self) -> tuple[str, str]:
        """The same read of one study on one route is done once."""
        return self.bundle_digest, self.input_digest

    @property
    def places(self) -> frozenset[tuple[str, str]]:
        """The series and films it reads."""
        return frozenset(one.place for one in self.chosen)


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """What a route said about a revision, and the jobs that follow from it."""

    route: str
    outcome: str
    reason: str
    verdicts: tuple[str, ...]
    jobs: tuple[NewJob, ...] = ()
    late: Late = "reread"
