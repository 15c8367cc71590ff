"""Slices in patient space: is this one regular stack, in which order, and where does it lie? Pure numbers, no files.

Everything is in LPS millimetres (PS3.3 C.7.6.2.1.1). The slice normal is row direction × column direction; slices are
ordered along it. Vendors number instances as they like, so Instance Number is not even known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wetread.errors import DuplicatePosition, GeometryInvalid, MissingSlice, MixedOrientation, MixedSize, UnevenSpacing
from wetread.records.volume import Affine

_Vector = npt.NDArray[np.float64]

GAP_TOLERANCE = 0.01
"""Neighbouring gaps may differ from the typical gap by this share of it."""
_ROUNDING_MM = 0.0101
"""... and always by this much: where positions are written with two decimals, both ends of a gap are rounded."""
_WHOLE_GAP_TOLERANCE = 0.1
"""A gap this close to a whole number of typical gaps is missing slices, otherwise the spacing is uneven."""
_SAME_POSITION_MM = 0.01
_SAME_DIRECTION = 1e-3
"""Largest difference between direction cosines of parallel slices: 0.2 mm over 200 mm."""
_SAME_PIXEL_SPACING = 1e-4
_SHEAR = 1e-3
"""Drift of the stack against its normal, as a share of its length."""
_OFF_GRID = 0.1
"""How far a slice may lie from its place on the regular grid, as a share of a voxel."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One slice as its header places it; the directions are unit vectors at a right angle."""

    name: str
    """What a message calls it: the file name."""
    position: tuple[float, float, float]
    """Centre of the first pixel, LPS mm."""
    row_direction: tuple[float, float, float]
    """Along a row: the way the column index grows."""
    column_direction: tuple[float, float, float]
    """Along a column: the way the row index grows."""
    pixel_spacing_mm: tuple[float, float]
    """Between rows, between columns (PS3.3 10.7.1.3)."""
    rows: int
    columns: int
    frame_of_reference_uid: str

    @property
    def normal(self) -> _Vector:
        """Row direction × column direction."""
        normal: _Vector = np.cross(self.row_direction, self.column_direction)
        return normal


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular stack: the order of its slices, and where its voxels lie."""

    order: tuple[int, ...]
    """``order[k]`` is the index, in the planes that were given, of the slice at array index ``k``."""
    affine: Affine


def arrange(planes: Sequence[Plane]) -> Grid:
    """Order the planes (at least two) along their normal and give the grid they form.

    Raises: ``MixedSize``, ``MixedOrientation``, ``DuplicatePosition``, ``MissingSlice``, ``UnevenSpacing``, or
    ``GeometryInvalid`` when the stack leans against its normal (gantry tilt) or a slice is shifted in its plane.
    """
    for plane in planes[1:]:
        _check_same_size(planes[0], plane)
        _check_same_orientation(planes[0], plane)
    heights = np.array([plane.position for plane in planes]) @ planes[0].normal
    order = np.argsort(heights, kind="stable")
    stack = [planes[k] for k in order]
    _check_gaps(stack, heights[order])
    affine = stack_affine(stack)
    _check_on_grid(stack, affine)
    return Grid(tuple(int(k) for k in order), affine)


def stack_affine(stack: Sequence[Plane]) -> Affine:
    """The affine of planes in slice order; the slice axis is (last position − first position) / (n − 1)."""
    first, last = stack[0], stack[-1]
    affine = np.eye(4)
    affine[:3, 0] = (np.array(last.position) - np.array(first.position)) / (len(stack) - 1)
    affine[:3, 1] = np.array(first.column_direction) * first.pixel_spacing_mm[0]
    affine[:3, 2] = np.array(first.row_direction) * first.pixel_spacing_mm[1]
    affine[:3, 3] = first.position
    return affine


def _check_same_size(one: Plane, other: Plane) -> None:
    if (one.rows, one.columns) != (other.rows, other.columns):
        raise MixedSize(
            f"{one.name} has {one.rows} × {one.columns} pixels (rows × columns), {other.name} has "
            f"{other.rows} × {other.columns}; the slices of one volume have one size"
        )
    if not np.allclose(one.pixel_spacing_mm, other.pixel_spacing_mm, rtol=_SAME_PIXEL_SPACING, atol=0):
        raise MixedSize(
            f"{one.name} has a pixel spacing of {_product(one.pixel_spacing_mm)} mm (rows × columns), {other.name} "
            f"{_product(other.pixel_spacing_mm)} mm; the slices of one volume have one pixel spacing"
        )
    if one.frame_of_reference_uid != other.frame_of_reference_uid:
        raise MixedSize(
            f"{one.name} is in frame of reference {one.frame_of_reference_uid}, {other.name} in "
            f"{other.frame_of_reference_uid}; their positions cannot be compared"
        )


def _check_same_orientation(one: Plane, other: Plane) -> None:
    difference = np.abs(np.subtract(_cosines(one), _cosines(other))).max()
    if difference > _SAME_DIRECTION:
        cosine = float(np.clip(one.normal @ other.normal, -1, 1))
        raise MixedOrientation(
            f"{one.name} and {other.name} are not parallel slices: their normals are "
            f"{np.degrees(np.arccos(cosine)):.1f}° apart and their direction cosines differ by up to {difference:.3f}, "
            f"at most {_SAME_DIRECTION:g} was expected"
        )


def _check_gaps(stack: Sequence[Plane], heights: _Vector) -> None:
    gaps = np.diff(heights)
    _check_no_duplicates(stack, gaps)
    # The lower median: of two gaps, 2.5 mm and 5 mm, the small one is the typical one.
    typical = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    _check_nothing_missing(stack, gaps, typical)
    worst = int(np.argmax(np.abs(gaps - typical)))
    if abs(gaps[worst] - typical) > max(GAP_TOLERANCE * typical, _ROUNDING_MM):
        raise UnevenSpacing(
            f"{_between(stack, worst)} the gap is {gaps[worst]:.4g} mm, the typical gap of the series is "
            f"{typical:.4g} mm; they may differ by {GAP_TOLERANCE:.0%}"
        )


def _check_no_duplicates(stack: Sequence[Plane], gaps: _Vector) -> None:
    same = np.flatnonzero(gaps < _SAME_POSITION_MM)
    if len(same):
        k = int(same[0])
        raise DuplicatePosition(
            f"{stack[k].name} and {stack[k + 1].name} lie at one position along the slice normal, so do {len(same)} of "
            f"{len(gaps)} neighbours in all; a volume has one slice at each position (the series may hold several "
            "acquisitions, echoes or time points)"
        )


def _check_nothing_missing(stack: Sequence[Plane], gaps: _Vector, typical: float) -> None:
    steps = np.rint(gaps / typical)
    holes = np.flatnonzero((steps >= 2) & (np.abs(gaps / typical - steps) <= _WHOLE_GAP_TOLERANCE))
    if len(holes):
        k = int(holes[0])
        missing = int(steps[k]) - 1
        more = f"; {int(steps[holes].sum()) - len(holes)} are missing in the whole series" if len(holes) > 1 else ""
        raise MissingSlice(
            f"{_between(stack, k)} {missing} {'slice is' if missing == 1 else 'slices are'} missing: the gap is "
            f"{gaps[k]:.4g} mm, {typical:.4g} mm was expected{more}"
        )


def _check_on_grid(stack: Sequence[Plane], affine: Affine) -> None:
    normal = stack[0].normal
    step = affine[:3, 0]
    lean = step - (step @ normal) * normal
    pixel_mm = min(stack[0].pixel_spacing_mm)
    drift_mm = float(np.linalg.norm(lean)) * (len(stack) - 1)
    length_mm = float(np.linalg.norm(step)) * (len(stack) - 1)
    if drift_mm > max(_SHEAR * length_mm, _OFF_GRID * pixel_mm):
        angle = np.degrees(np.arcsin(min(1.0, drift_mm / length_mm)))
        raise GeometryInvalid(
            f"the slices from {stack[0].name} to {stack[-1].name} are sheared: the line through their positions is "
            f"{angle:.1f}° off the slice normal (tilted gantry?), 0° was expected"
        )
    ideal = np.array(stack[0].position) + np.arange(len(stack))[:, np.newaxis] * step
    offset = np.array([plane.position for plane in stack]) - ideal
    along = np.abs(offset @ normal)
    across = np.linalg.norm(offset - np.outer(offset @ normal, normal), axis=1)
    _check_offsets(stack, along, _OFF_GRID * float(np.linalg.norm(step)), UnevenSpacing)
    _check_offsets(stack, across, max(_SHEAR * length_mm, _OFF_GRID * pixel_mm), GeometryInvalid)


def _check_offsets(stack: Sequence[Plane], offset_mm: _Vector, limit_mm: float, error: type[GeometryInvalid]) -> None:
    k = int(np.argmax(offset_mm))
    if offset_mm[k] > limit_mm:
        raise error(
            f"{stack[k].name} lies {offset_mm[k]:.3g} mm off its place on the regular grid from {stack[0].name} to "
            f"{stack[-1].name}, at most {limit_mm:.2g} mm was expected"
        )


def _between(stack: Sequence[Plane], k: int) -> str:
    return f"between {stack[k].name} and {stack[k + 1].name}"


def _cosines(plane: Plane) -> tuple[float, ...]:
    return plane.row_direction + plane.column_direction


def _product(pair: tuple[float, float]) -> str:
    return f"{pair[0]:g} × {pair[1]:g}"
