"""Which slices are worth a picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wetread.encode.marks import found_segments
from wetread.records.finding import Detection, Segment
from wetread.records.output import Masks, slice_areas
from wetread.records.reading import Reading
from wetread.records.volume import LabelMap

MAX_PICTURES = 5
_SHOWN_WELL = 0.8
"""An abnormality needs no slice of its own if a slice chosen already has this share of its largest area."""
_APART = 10
"""Slices that only fill gaps lie at least this part of the extent from every other, and never side by side."""


def choose_key_slices(reading: Reading, slice_count: int) -> tuple[int, ...]:
    """At most five slice indices, ascending; the middle slice when there is nothing to point at.

    Segments: where all structures together are largest, where each abnormality is largest, and the widest gaps between
    these filled. Boxes: the slice through the middle of each, best score first.
    """
    output = reading.output
    segments = list(found_segments(reading.findings))
    detections = [f for f in reading.findings if isinstance(f, Detection)]
    if segments and isinstance(output, LabelMap | Masks):
        chosen = _of_segments(segments, slice_areas(output))
    else:
        chosen = _of_detections(detections) or [slice_count // 2]
    return tuple(sorted(chosen))


def _of_segments(segments: list[Segment], areas: npt.NDArray[np.int64]) -> list[int]:
    total = areas[[s.label_value for s in segments]].sum(axis=0)
    chosen = [int(total.argmax())]
    abnormal = sorted((s for s in segments if s.role == "finding"), key=lambda s: -s.voxel_count)
    for of_one in (areas[s.label_value] for s in abnormal):
        if len(chosen) < MAX_PICTURES and of_one[chosen].max() < _SHOWN_WELL * of_one.max():
            chosen.append(int(of_one.argmax()))
    return _filled(chosen, np.flatnonzero(total))


def _of_detections(detections: list[Detection]) -> list[int]:
    """A box that a chosen slice cuts near its middle needs no slice of its own."""
    chosen: list[int] = []
    for detection in detections:
        quarter = (detection.high[0] - detection.low[0]) / 4
        if len(chosen) < MAX_PICTURES and all(abs(k - detection.slice_index) > quarter for k in chosen):
            chosen.append(detection.slice_index)
    return chosen


def _filled(chosen: list[int], extent: npt.NDArray[np.intp]) -> list[int]:
    """More slices, each as far as possible from all others, until there are enough or they would be too close.

    Not from the ends of the extent, where structures are only a few voxels wide.
    """
    margin = extent.size // (MAX_PICTURES + 1)
    candidates = extent[margin : extent.size - margin]
    apart = max(2, extent.size // _APART)
    while len(chosen) < MAX_PICTURES and candidates.size:
        distances = np.abs(candidates[:, None] - np.array(chosen)).min(axis=1)
        if distances.max() < apart:
            break
        chosen.append(int(candidates[distances.argmax()]))
    return chosen
