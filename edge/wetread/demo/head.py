"""The head that is scanned in the demo: the average brain of the MNI152 template inside a painted head.

nilearn ships the template as a brain alone, skull and scalp are taken away. The bundle of the demo is not for such
images, and there would be nothing left to do for it. So skull and scalp are painted around the brain, as layers of
even thickness: what lies outside the brain is made up, and everything that shows it says so.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from wetread.errors import Misconfigured
from wetread.extras import how_to_install
from wetread.nifti import read_nifti
from wetread.records.volume import Affine

NOTICE = (
    "The brain is the MNI152 2009a T1 template, the average of many people (McConnell Brain Imaging Centre, McGill "
    "University; by way of nilearn). Skull, scalp and noise are painted. It is not a patient."
)
FULL_SCALE = 255.0
"""The template's white."""

_TEMPLATE = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
_MARGIN = 30
"""Voxels of air on each side; the template is cut off closely."""
_COARSE = 2
"""Distances are measured on every second voxel: they change slowly, and this is eight times faster."""
_BRIDGED_MM = 16.0
"""Gaps between parts of the brain up to twice as wide are inside the skull."""
_DEPTH_MM = (-1.0, 2.0, 3.0, 4.5, 5.5, 8.0, 9.0, 10.5, 11.5, 16.0, 17.0, 18.0)
_VALUES = (40.0, 40.0, 8.0, 8.0, 90.0, 90.0, 8.0, 8.0, 215.0, 215.0, 120.0, 0.0)
"""Fluid, inner table, marrow, outer table, fat and skin, by the distance from the brain's hull."""


@dataclass(frozen=True, slots=True)
class Head:
    """A head in patient space."""

    array: npt.NDArray[np.float32]
    """Axes ``(slice, row, column)``, 0 to ``FULL_SCALE``."""
    affine: Affine
    """Indices of voxel centres to LPS mm."""


def average_head() -> Head:
    """The template with its painted surroundings.

    Raises: ``Misconfigured`` when nilearn is not installed.
    """
    template = read_nifti(template_path())
    brain = np.pad(template.array, _MARGIN)
    affine = template.affine.copy()
    affine[:3, 3] -= affine[:3, :3].sum(axis=1) * _MARGIN
    return Head(_surrounded(brain), affine)


def template_path() -> Path:
    """The template's file; nilearn itself is not imported, which would take seconds. Raises: ``Misconfigured``."""
    spec = importlib.util.find_spec("nilearn")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0]) / _TEMPLATE if folders else None
    if path is None or not path.is_file():
        raise Misconfigured(f"the demo needs the MNI152 template of nilearn 0.12 or later; {how_to_install('demo')}")
    return path


def _surrounded(brain: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Brain where there is brain, layers of a head by their distance from it elsewhere."""
    coarse = _distance_from_hull(brain[::_COARSE, ::_COARSE, ::_COARSE] > 0)
    places = [np.minimum(np.arange(n) / _COARSE, m - 1) for n, m in zip(brain.shape, coarse.shape, strict=True)]
    distance = coarse
    for axis, place in enumerate(places):
        distance = _interpolated(distance, place, axis)
    layers = np.interp(distance, _DEPTH_MM, _VALUES).astype(np.float32)
    inside = ndimage.gaussian_filter((brain > 0).astype(np.float32), 0.7)
    return np.maximum(brain, layers * (1 - inside))


def _distance_from_hull(brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Millimetres from the smooth hull around the brain, negative inside; voxels are ``_COARSE`` mm wide."""
    grown = ndimage.distance_transform_edt(~brain, sampling=_COARSE) <= _BRIDGED_MM
    hull = ndimage.distance_transform_edt(grown, sampling=_COARSE) > _BRIDGED_MM
    outside = ndimage.distance_transform_edt(~hull, sampling=_COARSE)
    inside = ndimage.distance_transform_edt(hull, sampling=_COARSE)
    distance: npt.NDArray[np.float32] = ndimage.gaussian_filter((outside - inside).astype(np.float32), 1.0)
    return distance


def _interpolated(array: npt.NDArray[np.float32], place: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float32]:
    """Linear interpolation along one axis at fractional indices."""
    low = np.minimum(place.astype(int), array.shape[axis] - 2)
    share = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    below, above = np.take(array, low, axis), np.take(array, low + 1, axis)
    result: npt.NDArray[np.float32] = below + share * (above - below)
    return result
