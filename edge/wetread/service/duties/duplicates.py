"""Duty: instances that came again in another encoding are compared with the stored ones, in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from wetread.images.same_picture import compare_all
from wetread.jobs.spawning import start_shielded
from wetread.store.index import Index, Recompressed

_MEMORY_MB = 4096
_PATIENCE_S = 60.0
"""For one pair."""


class Duplicates:
    """From recompressed instances to duplicates, or to held studies."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._process: SpawnProcess | None = None
        self._answers: Connection | None = None
        self._asked: list[Recompressed] = []
        self._since = 0.0

    def recover(self) -> None:
        """What was not compared is compared again."""
        self._index.take_back()

    def round(self) -> None:
        """Take the answers that are there; start the next comparisons when all are in."""
        if self._answers is None:
            self._start()
            return
        ended = self._process is not None and not self._process.is_alive()
        try:
            while self._asked and self._answers.poll():
                self._settle(self._answers.recv())
        except (EOFError, OSError):
            ended = True
        if not self._asked:
            self.close()
        elif ended or time.monotonic() - self._since > _PATIENCE_S:
            self._settle("pixels that cannot be compared (no answer)")
            self.close()  # the rest is asked again, without the one that did this

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._answers is not None:
            self._answers.close()
        self._process, self._answers, self._asked = None, None, []

    def _start(self) -> None:
        self._asked = self._index.to_compare()
        if not self._asked:
            return
        context = multiprocessing.get_context("spawn")
        self._answers, theirs = context.Pipe(duplex=False)
        pairs = [(one.stored, one.path) for one in self._asked]
        self._process = context.Process(target=compare_all, args=(theirs, pairs, _MEMORY_MB), daemon=True)
        start_shielded(self._process)
        theirs.close()
        self._since = time.monotonic()

    def _settle(self, problem: str) -> None:
        self._index.compared(self._asked[0], problem)
        self._asked.pop(0)
        self._since = time.monotonic()
