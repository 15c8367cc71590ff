"""Where an overlay lies on the images: label volumes are placed by their affine, never by their array shape. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wetread_desktop.host import CannotShow, LabelVolume

Labels = npt.NDArray[np.uint8]

_ON_GRID = 0.05
"""How far a voxel centre may lie from its partner, in voxels, and still be the same voxel."""
_AXES = 3


@dataclass(frozen=True, slots=True)
class Placed:
    """A label volume on the grid of the images it is drawn over: ``array[k]`` belongs to the image ``k``."""

    array: Labels
    """``(slice, row, column)`` of the images."""
    resampled: bool
    """It lay on another grid; each voxel took the value of the nearest one."""


def place(
    labels: LabelVolume, affine: npt.ArrayLike, shape: tuple[int, int, int], frame_of_reference_uid: str
) -> Placed:
    """Put a label volume on a grid given by ``affine`` (indices → LPS mm) and ``shape``.

    Raises: ``CannotShow`` when it belongs to another patient space, or does not touch the images at all.
    """
    if labels.frame_of_reference_uid != frame_of_reference_uid:
        raise CannotShow("this result belongs to another frame of reference: its place on these images is not known")
    mapping = np.linalg.inv(np.asarray(labels.affine, dtype=np.float64)) @ np.asarray(affine, dtype=np.float64)
    array = labels.array()
    exact = _exactly(array, mapping, shape)
    if exact is not None:
        return Placed(exact, resampled=False)
    return Placed(_nearest(array, mapping, shape), resampled=True)


def _exactly(array: Labels, mapping: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> Labels | None:
    """Its axes exchanged and reversed, where that is all there is between the grids."""
    turn = mapping[:3, :3]
    whole = np.rint(turn)
    if np.abs(whole).sum() != _AXES or abs(abs(np.linalg.det(whole)) - 1) > _ON_GRID:
        return None
    farthest = np.abs(turn - whole) @ np.array(shape, dtype=np.float64)
    if farthest.max() > _ON_GRID:
        return None
    order = tuple(int(k) for k in np.abs(whole).argmax(axis=0))
    turned = array.transpose(order)
    for axis, source in enumerate(order):
        if whole[source, axis] < 0:
            turned = np.flip(turned, axis)
    expected = [array.shape[s] - 1 if whole[s, order.index(s)] < 0 else 0 for s in range(_AXES)]
    if turned.shape != shape or np.abs(mapping[:3, 3] - expected).max() > _ON_GRID:
        return None
    return turned


def _nearest(array: Labels, mapping: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> Labels:
    placed = np.zeros(shape, np.uint8)
    rows, columns = np.meshgrid(np.arange(shape[1]), np.arange(shape[2]), indexing="ij")
    limits = np.array(array.shape)
    touched = False
    for k in range(shape[0]):
        place_of = (
            mapping[:3, 0, None, None] * k
            + mapping[:3, 1, None, None] * rows
            + mapping[:3, 2, None, None] * columns
            + mapping[:3, 3, None, None]
        )
        nearest = np.floor(place_of + 0.5).astype(np.intp)
        inside = ((nearest >= 0) & (nearest < limits[:, None, None])).all(axis=0)
        if inside.any():
            touched = True
            placed[k][inside] = array[tuple(nearest[:, inside])]
    if not touched:
        raise CannotShow("this result lies outside these images")
    return placed
