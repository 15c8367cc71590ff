"""The spool: instances on disk, one Part 10 file each, kept before the sender hears Success.

::

    spool/incoming/   durable, not yet indexed; the only folder that start-up scans
    spool/studies/    indexed; one folder for each study
    spool/unreadable/ acknowledged, and then found unreadable
    spool/comparing/  came again in another encoding; is it the same picture?

File names are ours. Provenance lies in the file itself, as Private Information of the File Meta Information
(0002,0100)/(0002,0102), PS3.10 Table 7.1-1: instance and origin are one atomic write and can never be parted.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from wetread.dimse.scratch import Scratch
from wetread.durable import make_folder, make_folders, sync_folder
from wetread.errors import SpoolUnavailable
from wetread.records.notes import Note, note_to_json
from wetread.records.received import ReceivedInstance
from wetread.store.durable import DurableFolder
from wetread.store.part10 import check, meta_of


class Spool:
    """The spool folder. Several processes may ``keep`` at one time; only the coordinator moves files."""

    def __init__(self, folder: Path, *, reserve_bytes: int = 0) -> None:
        self.folder = folder
        self.incoming = folder / "incoming"
        self.studies = folder / "studies"
        self.unreadable = folder / "unreadable"
        self.comparing = folder / "comparing"
        self._durable = DurableFolder(self.incoming)
        self._reserve_bytes = reserve_bytes
        for part in (self.incoming, self.studies, self.unreadable, self.comparing):
            make_folder(part)
        for parent in (folder, folder.parent):
            sync_folder(parent)  # another process may have made them a moment ago, and not synced them yet

    def keep(self, received: ReceivedInstance) -> Path:
        """Write one instance and its provenance to disk; when this returns, a power cut does not lose it.

        Raises: ``InstanceRefused`` when the data set is not a readable instance or not the announced one;
        ``SpoolUnavailable`` when the disk is full or cannot be written.
        """
        check(received)
        meta = meta_of(received)
        self.check_room(len(meta) + len(received.dataset))
        return self._write(_new_name(".dcm"), meta, received.dataset)

    def scratch(self) -> Scratch:
        """Room on the spool's disk for a data set on its way that is too large for memory.

        Raises: ``SpoolUnavailable`` when the disk is full or cannot be written.
        """
        self.check_room(0)
        return Scratch(self.folder, self.check_room)

    def note(self, note: Note) -> Path:
        """Leave a message for the coordinator; as durable as an instance, and taken in after those kept before it."""
        return self._write(_new_name(".event.json"), note_to_json(note).encode())

    def waiting(self) -> Iterator[Path]:
        """Files in ``incoming/`` in the order they came; parts of unfinished writes are not shown."""
        yield from (self.incoming / name for name in self.waiting_names())

    def waiting_names(self) -> list[str]:
        """The names alone: a million of them are held in memory at one time."""
        return sorted(name for name in os.listdir(self.incoming) if not name.startswith("."))

    def has_waiting(self) -> bool:
        """Whether ``waiting`` has anything to show."""
        with os.scandir(self.incoming) as entries:
            return any(not entry.name.startswith(".") for entry in entries)

    def check_room(self, size: int = 0) -> None:
        """Raises: ``SpoolUnavailable`` when so many bytes more would leave less than the reserve."""
        free = shutil.disk_usage(self.incoming).free
        if free < self._reserve_bytes + size:
            raise SpoolUnavailable(
                f"{free // 2**20} MiB free on the spool's disk, {self._reserve_bytes // 2**20} MiB are kept in reserve"
            )

    def discard_unfinished(self) -> int:
        """Delete what a crash left half written (never acknowledged); returns how many. At start-up only."""
        unfinished = list(self.incoming.glob(".*"))
        for path in unfinished:
            path.unlink()
        return len(unfinished)

    def _write(self, name: str, *parts: bytes | memoryview) -> Path:
        try:
            return self._durable.write(name, *parts)
        except OSError as exc:
            raise SpoolUnavailable(f"the spool cannot be written: {exc.strerror}") from exc


def move(moves: Iterable[tuple[Path, Path | None]]) -> None:
    """Bring files to their place, durably, or delete them (None). For the coordinator.

    Raises: ``SpoolUnavailable``: some may have been moved, the others are where they were.
    """
    try:
        _move(moves)
    except OSError as exc:
        raise SpoolUnavailable(f"a file of the spool cannot be moved to its place: {exc.strerror}") from exc


def _move(moves: Iterable[tuple[Path, Path | None]]) -> None:
    moves = list(moves)
    make_folders({target.parent for _, target in moves if target is not None})
    touched: set[Path] = set()
    for source, target in moves:
        if target is None:
            source.unlink()
        elif source != target:
            os.rename(source, target)
            touched.update((source.parent, target.parent))
    for folder in touched:
        sync_folder(folder)


def _new_name(suffix: str) -> str:
    # Sorts by time of arrival within one boot; uniqueness comes from the random part.
    return f"{time.time_ns():020d}-{uuid.uuid4().hex}{suffix}"
