"""A PACS: C-STORE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wetread.deliver.destination import Answer, DestinationSettings
from wetread.dimse.scu import Remote, send_files
from wetread.errors import Misconfigured


class DicomDestination:
    """One peer with a storage SCP."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def deliver(self, paths: Sequence[Path]) -> list[Answer]:
        """C-STORE in one association. Raises: ``DestinationUnavailable`` when there is none."""
        return [Answer(report.accepted, report.answer) for report in send_files(self._remote, paths)]


def open_destination(settings: DestinationSettings, remote: Remote | None) -> DicomDestination:
    """See ``destination.open_destination``."""
    if remote is None:
        raise Misconfigured(f"destination {settings.name!r} names peer {settings.peer!r}, which has no host and port")
    return DicomDestination(remote)
