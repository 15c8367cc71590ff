"""Which slices are worth a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wetread.records.finding import Finding
from wetread.records.volume import LabelMap

MAX_PICTURES = 5


def choose_key_slices(label_map: LabelMap, findings: Sequence[Finding]) -> tuple[int, ...]:
    """At most five slice indices, ascending; the middle slice when nothing was found.

    They are where all structures together are largest, where each abnormality is largest, and the rest spread evenly.
    """
    areas = np.count_nonzero(label_map.array, axis=(1, 2))
    extent = np.flatnonzero(areas)
    if extent.size == 0:
        return (label_map.array.shape[0] // 2,)
    wanted = [int(areas.argmax()), *_largest_of_each(label_map.array, findings), *_spread(extent)]
    return tuple(sorted(list(dict.fromkeys(wanted))[:MAX_PICTURES]))


def _largest_of_each(labels: npt.NDArray[np.uint8], findings: Sequence[Finding]) -> list[int]:
    """The best slice of each abnormality, the largest abnormality first."""
    abnormal = sorted((f for f in findings if f.role == "finding" and f.voxel_count), key=lambda f: -f.voxel_count)
    return [int(np.count_nonzero(labels == f.label_value, axis=(1, 2)).argmax()) for f in abnormal[: MAX_PICTURES - 1]]


def _spread(extent: npt.NDArray[np.intp]) -> list[int]:
    """Slices at even distances inside the extent, not at its ends, where structures are only a few voxels wide."""
    places = (np.arange(1, MAX_PICTURES + 1) / (MAX_PICTURES + 1)) * (extent.size - 1)
    return [int(extent[round(place)]) for place in places]
