"""A folder: one file for each object, named by its SOP Instance UID, which is ours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pydicom

from wetread.deliver.destination import (
    Answer,
    Archive,
    Commitment,
    DestinationSettings,
    Negotiator,
    Outcome,
    PeerAbilities,
)
from wetread.dimse.scu import Remote
from wetread.durable import write_atomically
from wetread.errors import DestinationUnavailable, Misconfigured


class FolderDestination:
    """Files appear whole or not at all, and are on disk when they are answered for."""

    archive: Archive | None = None
    commitment: Commitment | None = None
    negotiator: Negotiator | None = None
    proof: Literal["status", "digest"] = "digest"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, paths: Sequence[Path]) -> list[Answer]:
        """Copy, and read back. Raises: ``DestinationUnavailable`` when the folder cannot be made or written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return [self._copy(path) for path in paths]
        except OSError as exc:
            raise DestinationUnavailable(f"{self._folder} cannot be written: {exc.strerror}") from exc

    def _copy(self, path: Path) -> Answer:
        uid = pydicom.filereader.read_file_meta_info(path).MediaStorageSOPInstanceUID
        body = path.read_bytes()
        target = self._folder / f"{uid}.dcm"
        write_atomically(target, lambda part: part.write_bytes(body))
        with target.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").digest()
        if found != hashlib.sha256(body).digest():
            raise DestinationUnavailable(f"{target} is not what was written there")
        return Answer(Outcome.TAKEN)


def open_destination(
    settings: DestinationSettings, _remote: Remote | None, _abilities: PeerAbilities
) -> FolderDestination:
    """See ``destination.open_destination``."""
    if not settings.path:
        raise Misconfigured(f"destination {settings.name!r} of kind 'folder' needs a path")
    return FolderDestination(Path(settings.path))
