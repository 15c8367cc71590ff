"""Duty: what lies in ``incoming/`` comes into the index, and studies that are complete become revisions."""

from __future__ import annotations

from wetread.db import now
from wetread.failpoint import failpoint
from wetread.records.notes import association_prefix
from wetread.store.index import Index
from wetread.store.revisions import Revisions


class Intake:
    """From acknowledged instances to revisions."""

    def __init__(self, index: Index, revisions: Revisions) -> None:
        self._index = index
        self._revisions = revisions
        self._started_at = ""
        self._ended: list[int] = []

    def entrance_ended(self, pid: int) -> None:
        """A listener or another entrance ended without a word about the associations it had."""
        self._ended.append(pid)

    def recover(self) -> None:
        """Remember when we began: what is in ``incoming/`` is taken in by the next rounds."""
        self._started_at = now()

    def round(self) -> None:
        """Take in one batch, then close the studies that are complete.

        While more waits, no study is quiet: its next instance may be in line behind those of others.
        """
        self._revisions.changed(self._index.take_in())
        if self._started_at and self._index.is_empty():
            # All that the listener of the last process noted is in: what it did not see end has ended with it.
            self._revisions.lose_associations(before=self._started_at)
            self._started_at = ""
        if self._ended and self._index.is_empty():
            for pid in self._ended:
                self._revisions.lose_associations(before=now(), prefix=association_prefix(pid))
            self._ended.clear()
        if not self._index.is_behind and self._revisions.close_complete():
            failpoint("study.complete")

    def close(self) -> None:
        """Ask no PACS any more. The spool is the truth."""
        self._revisions.stop_asking()
