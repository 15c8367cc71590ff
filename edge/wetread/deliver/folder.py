"""A folder: one file for each object, named by its SOP Instance UID, which is ours."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pydicom

from wetread.deliver.destination import Answer, DestinationSettings
from wetread.dimse.scu import Remote
from wetread.errors import DestinationUnavailable, Misconfigured


class FolderDestination:
    """Files appear whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, paths: Sequence[Path]) -> list[Answer]:
        """Copy. Raises: ``DestinationUnavailable`` when the folder cannot be made or written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in paths:
                self._copy(path)
        except OSError as exc:
            raise DestinationUnavailable(f"{self._folder} cannot be written: {exc.strerror}") from exc
        return [Answer(True)] * len(paths)

    def _copy(self, path: Path) -> None:
        uid = pydicom.filereader.read_file_meta_info(path).MediaStorageSOPInstanceUID
        target = self._folder / f"{uid}.dcm"
        part = self._folder / f".{uid}.part"
        shutil.copyfile(path, part)
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.rename(target)


def open_destination(settings: DestinationSettings, _remote: Remote | None) -> FolderDestination:
    """See ``destination.open_destination``."""
    if not settings.path:
        raise Misconfigured(f"destination {settings.name!r} of kind 'folder' needs a path")
    return FolderDestination(Path(settings.path))
