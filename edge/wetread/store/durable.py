"""A folder many threads write files into, each durable when its call returns; one sync of the folder serves all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from wetread.dimse.scratch import write_all
from wetread.durable import sync_folder
from wetread.failpoint import failpoint


class DurableFolder:
    """A folder whose files appear whole and durable, or not at all. For many threads at one time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = threading.Condition()
        self._asked = self._synced = 0
        self._syncing = False

    def write(self, name: str, *parts: bytes | memoryview) -> Path:
        """Write one file from its parts, without joining them in memory.

        Raises: ``OSError``: then there is no file, or a whole one that a power cut may still take.
        """
        path, part = self._folder / name, self._folder / f".{name}"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                write_all(descriptor, parts)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            failpoint("instance.written")
            os.rename(part, path)
            self._sync()
            failpoint("instance.kept")
        except OSError:
            part.unlink(missing_ok=True)
            raise
        return path

    def _sync(self) -> None:
        """One sync for all threads that wait: it makes every rename durable that came before it began."""
        with self._turn:
            self._asked += 1
            mine = self._asked
            self._turn.wait_for(lambda: self._synced >= mine or not self._syncing)
            if self._synced >= mine:
                return
            self._syncing, upto = True, self._asked
        try:
            sync_folder(self._folder)
        except OSError:
            upto = 0  # the next one in line tries for itself
            raise
        finally:
            with self._turn:
                self._syncing, self._synced = False, max(self._synced, upto)
                self._turn.notify_all()
