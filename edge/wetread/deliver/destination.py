"""Destinations: where results go. Adding a kind is one file and one line in ``KINDS``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

from wetread.dimse.scu import Remote

KINDS = {
    "dicom": "wetread.deliver.dicom",
    "folder": "wetread.deliver.folder",
}


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """``[[destinations]]``: one place results are sent to."""

    name: str
    """Routes name it."""
    kind: Literal["dicom", "folder"]
    """``dicom``: C-STORE to a peer; ``folder``: files in a folder of this machine."""
    peer: str = ""
    """For ``dicom``: name of one of ``[[peers]]`` with host and port."""
    path: str = ""
    """For ``folder``: where the files go; made if missing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one object."""

    accepted: bool
    error: str = ""


class Destination(Protocol):
    """Takes result objects.

    1. ``deliver`` gives one answer for each path, in order; an accepted object is durable at the destination.
    2. It raises ``DestinationUnavailable`` when nothing could be tried.
    3. Delivering the same object again is harmless.
    """

    def deliver(self, paths: Sequence[Path]) -> list[Answer]:
        """Send these Part 10 files, in this order."""
        ...


def open_destination(settings: DestinationSettings, remote: Remote | None) -> Destination:
    """The destination of these settings; ``remote`` is its peer, for kinds that have one."""
    module = import_module(KINDS[settings.kind])
    opener = cast("Callable[[DestinationSettings, Remote | None], Destination]", module.open_destination)
    return opener(settings, remote)
