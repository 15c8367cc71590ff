"""Duty: what lies in ``incoming/`` comes into the index, and studies that are complete become revisions."""

from __future__ import annotations

from wetread.store.index import Index
from wetread.store.revisions import Revisions


class Intake:
    """From acknowledged instances to revisions."""

    def __init__(self, index: Index, revisions: Revisions) -> None:
        self._index = index
        self._revisions = revisions

    def recover(self) -> None:
        """Nothing: what is in ``incoming/`` is taken in by the next round."""

    def round(self) -> None:
        """Take in one batch, then close the studies that are complete."""
        self._revisions.changed(self._index.take_in())
        self._revisions.notice_receiving()
        self._revisions.close_quiet()

    def close(self) -> None:
        """Nothing: the spool is the truth."""
