"""A series becomes a volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wetread.errors import TooFewSlices
from wetread.images.geometry import arrange
from wetread.images.instance import Slice, read_slice
from wetread.images.pixels import decode
from wetread.records.numbers import number_of
from wetread.records.study import SeriesRef
from wetread.records.volume import Affine, Volume

_FEWEST = 2
"""One slice has no slice spacing: the slice axis comes from positions, never from Slice Thickness."""


def read_volume(series: SeriesRef, *, min_slices: int) -> Volume:
    """Stack one series into a volume, ordered along the slice normal.

    Order comes from Image Position (Patient), never Instance Number (PS3.3 C.7.6.2). All headers are checked before the
    first pixel is decoded; then one file at a time is held in memory beside the volume.

    Returns: float32 modality values ``(slice, row, column)``; ``affine`` maps voxel centres to LPS mm.
    Raises: ``ImageUnusable``, ``GeometryInvalid`` or ``NotDicom``; the message names the files and what was expected.
    """
    slices = _slices(series, min_slices)
    grid = arrange([item.plane for item in slices])
    ordered = [slices[k] for k in grid.order]
    return Volume(
        array=_stack(ordered),
        affine=grid.affine,
        series=series,
        instances=tuple(item.instance for item in ordered),
        frame_of_reference_uid=ordered[0].plane.frame_of_reference_uid,
    )


def foreseen_grid(series: SeriesRef, *, min_slices: int) -> tuple[tuple[int, int, int], Affine]:
    """Shape ``(slice, row, column)`` and affine that ``read_volume`` will give, from the headers alone.

    Raises: as ``read_volume``, for what headers show.
    """
    slices = _slices(series, min_slices)
    plane = slices[0].plane
    return (len(slices), plane.rows, plane.columns), arrange([item.plane for item in slices]).affine


def _slices(series: SeriesRef, min_slices: int) -> list[Slice]:
    slices = [read_slice(instance) for instance in series.instances]
    fewest = max(min_slices, _FEWEST)
    if len(slices) < fewest:
        raise TooFewSlices(
            f"{series.label} has {number_of(len(slices), 'slice')}, at least {fewest} were expected{_names(slices)}"
        )
    return slices


def _stack(slices: Sequence[Slice]) -> npt.NDArray[np.float32]:
    rows, columns = slices[0].plane.rows, slices[0].plane.columns
    # The first slice before the array: a header that promises absurd sizes fails there, not in the allocation.
    first = decode(slices[0].instance, rows=rows, columns=columns)
    array = np.empty((len(slices), rows, columns), np.float32)
    array[0] = first
    for k, item in enumerate(slices[1:], start=1):
        array[k] = decode(item.instance, rows=rows, columns=columns)
    return array


def _names(slices: Sequence[Slice]) -> str:
    if not slices:
        return ""
    shown = ", ".join(item.plane.name for item in slices[:3])
    return f" (found {shown}{', ...' if len(slices) > 3 else ''})"
