"""How many associations there may be at one time, counted over all processes that share a port."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path


class Places:
    """A fixed number of places. With a file, all processes that name it share them.

    A place is one byte of the file, locked while it is taken: the system gives the places of a process back however it
    ends. Such locks belong to the process (fcntl(2)), so what this process itself has taken is counted here.
    """

    def __init__(self, count: int, path: Path | None = None) -> None:
        self.count = count
        self._mine: set[int] = set()
        self._lock = threading.Lock()
        # Never closed: closing any descriptor of the file would give back all places of this process.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600) if path else -1

    def take(self) -> int | None:
        """A free place, or None."""
        with self._lock:
            for place in range(self.count):
                if place not in self._mine and self._claim(place):
                    self._mine.add(place)
                    return place
        return None

    def give_back(self, place: int) -> None:
        """Somebody else may have it."""
        with self._lock:
            self._mine.discard(place)
            if self._file >= 0:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def _claim(self, place: int) -> bool:
        if self._file < 0:
            return True
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True
