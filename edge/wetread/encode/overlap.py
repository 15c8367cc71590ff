"""How well two segmentations of the same images agree, from the files alone."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
from highdicom.seg import Segmentation, segread

from wetread.errors import OutputInvalid


class Overlap:
    """Two SEG files on one grid."""

    def __init__(self, one: Path, other: Path) -> None:
        self._one = segread(one)
        self._other = segread(other)

    def dice(self, tracking_uid: str, other_tracking_uid: str) -> float:
        """Dice coefficient of a segment of each: 2 |A ∩ B| / (|A| + |B|), 1 for the same mask.

        0 when one of them has no such segment: a structure that was not found has no segment.
        Raises: ``OutputInvalid`` when both do not lie on one grid.
        """
        a, b = _mask(self._one, tracking_uid), _mask(self._other, other_tracking_uid)
        if a is None or b is None:
            return 0.0
        size = int(np.count_nonzero(a.array)) + int(np.count_nonzero(b.array))
        try:
            common = np.count_nonzero(np.logical_and(a.array, b.match_geometry(a).array))
        except (RuntimeError, ValueError) as exc:
            raise OutputInvalid(f"the segmentations do not lie on one grid: {exc}") from exc
        return 2.0 * int(common) / size if size else 1.0


def _mask(segmentation: Segmentation, tracking_uid: str) -> highdicom.Volume | None:
    numbers = segmentation.get_segment_numbers(tracking_uid=tracking_uid)
    if not numbers:
        return None
    return segmentation.get_volume(segment_numbers=[numbers[0]], combine_segments=True, dtype=np.uint8)
