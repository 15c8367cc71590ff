"""Room on the disk for a data set on its way that is too large for memory."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from wetread.errors import SpoolUnavailable


class Scratch:
    """An unnamed file: gone with the process, however it ends."""

    def __init__(self, folder: Path | None = None, check_room: Callable[[int], None] = lambda size: None) -> None:
        """``check_room`` raises ``SpoolUnavailable`` when so many bytes more would be too many."""
        self._check_room = check_room
        try:
            descriptor, name = tempfile.mkstemp(dir=folder)
            os.unlink(name)
        except OSError as exc:
            raise SpoolUnavailable(f"the spool cannot be written: {exc.strerror}") from exc
        self._descriptor = descriptor

    def write(self, data: memoryview) -> None:
        """Append. Raises: ``SpoolUnavailable`` when the disk is full or nearly so."""
        self._check_room(len(data))
        try:
            write_all(self._descriptor, (data,))
        except OSError as exc:
            raise SpoolUnavailable(f"the spool cannot be written: {exc.strerror}") from exc

    def view(self) -> memoryview:
        """Everything written; the disk's pages, not memory of this process."""
        return memoryview(mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ))

    def close(self) -> None:
        """Give the room on the disk back."""
        os.close(self._descriptor)


def write_all(descriptor: int, parts: tuple[bytes | memoryview, ...]) -> None:
    """Write the parts one after the other, without joining them in memory. Raises: ``OSError``."""
    left = [memoryview(part) for part in parts if len(part)]
    while left:
        written = os.writev(descriptor, left)
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]
