"""NIfTI in and out, for research use and golden cases: it has no patient, no study and no coded results."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from wetread.errors import UnsupportedImage
from wetread.records.study import SeriesRef
from wetread.records.volume import Affine, LabelMap, Volume

SUFFIXES = (".nii", ".nii.gz")

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REVERSED_AXES = np.eye(4)[[2, 1, 0, 3]]


def is_nifti(path: Path) -> bool:
    """Whether the file name says so."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: Path) -> Volume:
    """A volume without instances: axes ``(slice, row, column)``, affine to LPS mm; the file has the reverse and RAS.

    Raises: ``UnsupportedImage`` when it cannot be read, is not one 3-D volume, or holds values that are no numbers.
    """
    array, affine = _read(path)
    wrong = int(np.count_nonzero(~np.isfinite(array)))
    if wrong:
        raise UnsupportedImage(
            f"{path.name} has {wrong} of {array.size} voxels that are not numbers (NaN or infinite), finite values "
            "were expected: a mask or a resampling may have left them; write 0 or the value of air there"
        )
    series = SeriesRef(series_instance_uid="", modality="", instances=(), description=path.name)
    return Volume(np.ascontiguousarray(array, np.float32), affine, series, (), "")


def foreseen_grid(path: Path) -> tuple[tuple[int, int, int], Affine]:
    """Shape and affine that ``read_nifti`` will give, from the header alone. Raises: as ``read_nifti``."""
    try:
        image = nibabel.load(path)
    except (OSError, EOFError, ValueError, ImageFileError) as exc:
        raise UnsupportedImage(f"{path.name} cannot be read as NIfTI: {exc}") from exc
    columns, rows, slices = _three(path, image.shape)
    return (slices, rows, columns), _to_lps(image.affine)


def read_nifti_labels(path: Path) -> npt.NDArray[np.uint8]:
    """A label map, ``(slice, row, column)``. Raises: as ``read_nifti``."""
    return np.asarray(_read(path)[0], np.uint8)


def write_nifti(image_or_labels: LabelMap | Volume, path: Path) -> None:
    """Write a label map (uint8) or a volume (float32) as NIfTI in RAS; nothing of its patient or study goes along."""
    array = image_or_labels.array
    affine = _LPS_TO_RAS @ image_or_labels.affine @ _REVERSED_AXES
    image = nibabel.Nifti1Image(array.transpose(2, 1, 0), affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def _read(path: Path) -> tuple[npt.NDArray[np.generic], Affine]:
    try:
        image = nibabel.load(path)
        array = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, ImageFileError) as exc:
        raise UnsupportedImage(f"{path.name} cannot be read as NIfTI: {exc}") from exc
    _three(path, array.shape)
    return array.transpose(2, 1, 0), _to_lps(image.affine)


def _three(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise UnsupportedImage(f"{path.name} has the shape {shape}, one 3-D volume was expected")
    return shape[0], shape[1], shape[2]


def _to_lps(affine: npt.NDArray[np.floating]) -> Affine:
    return np.asarray(_LPS_TO_RAS @ affine @ _REVERSED_AXES, np.float64)
