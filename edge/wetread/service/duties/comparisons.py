"""Duty: shadow reads are compared with live ones, one pair at a time, whenever there is one."""

from __future__ import annotations

from wetread.jobs.comparisons import Comparisons
from wetread.service.comparing import ComparingProcess


class Comparing:
    """From two committed reads to a stored comparison."""

    def __init__(self, comparisons: Comparisons) -> None:
        self._comparisons = comparisons
        self._under_way: ComparingProcess | None = None

    def recover(self) -> None:
        """Nothing: what was not recorded is still to be made."""

    def round(self) -> None:
        """Start one, or record the one that has ended."""
        if self._under_way is None:
            comparison = self._comparisons.next()
            if comparison is not None:
                self._under_way = ComparingProcess(comparison)
            return
        document = self._under_way.document()
        if document is not None:
            self._comparisons.record(self._under_way.comparison, document)
            self.close()

    def close(self) -> None:
        """Give up what is under way: it is made after the next start."""
        if self._under_way is not None:
            self._under_way.end()
            self._under_way = None
