"""The case whose answer is known: read from the NIfTI files that ship in the bundle."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from wetread.errors import BundleInvalid
from wetread.records.study import SeriesRef
from wetread.records.volume import Affine, Volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REVERSED_AXES = np.eye(4)[[2, 1, 0, 3]]


def golden_volume(path: Path) -> Volume:
    """The input as a volume without instances. Raises: ``BundleInvalid`` when it cannot be read."""
    array, affine = _read(path)
    series = SeriesRef(series_instance_uid="golden", modality="", instances=(), description=path.name)
    return Volume(np.asarray(array, np.float32), affine, series, (), "")


def golden_labels(path: Path) -> npt.NDArray[np.uint8]:
    """The stored answer, ``(slice, row, column)``. Raises: ``BundleInvalid`` when it cannot be read."""
    return np.asarray(_read(path)[0], np.uint8)


def _read(path: Path) -> tuple[npt.NDArray[np.generic], Affine]:
    """Array ``(slice, row, column)`` and affine to LPS mm; NIfTI stores the reverse order and RAS."""
    try:
        image = nibabel.load(path)
        array = np.asanyarray(image.dataobj)
    except (OSError, ValueError, ImageFileError) as exc:
        raise BundleInvalid(f"the golden file {path} cannot be read: {exc}") from exc
    if array.ndim != 3:
        raise BundleInvalid(f"the golden file {path} must hold one volume, its shape is {array.shape}")
    return array.transpose(2, 1, 0), np.asarray(_LPS_TO_RAS @ image.affine @ _REVERSED_AXES)
