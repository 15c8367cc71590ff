"""One file of a series: can it be a slice of a volume, and where does it lie? Looks at the header only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from wetread.dimse.attributes import decimals, integer, is_present, text, texts
from wetread.dimse.dataset import read_header
from wetread.errors import LocalizerImage, NoGeometry, NoPixels, UnsupportedImage
from wetread.images.geometry import Plane
from wetread.records.study import InstanceRef

_NOT_SLICES = frozenset({"LOCALIZER", "PROJECTION IMAGE"})
_ORTHONORMAL = 1e-3
"""Direction cosines come as decimal strings, some with four digits only."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One instance and where it lies."""

    instance: InstanceRef
    plane: Plane


def read_slice(instance: InstanceRef) -> Slice:
    """Read the header of one instance and check that it is a single grey-scale slice with a place in space.

    Raises: ``NotDicom``, ``LocalizerImage``, ``UnsupportedImage``, ``NoPixels``, ``NoGeometry``; they name the file.
    """
    return slice_of(read_header(instance.path), instance)


def slice_of(ds: Dataset, instance: InstanceRef) -> Slice:
    """The same from a header that was read already. Raises: ``StudyRejected`` as ``read_slice``."""
    name = instance.label
    _check_kind(ds, name)
    _check_pixel_module(ds, name)
    return Slice(instance, _plane(ds, name))


def _check_kind(ds: Dataset, name: str) -> None:
    found = _NOT_SLICES.intersection(value.upper() for value in texts(ds, "ImageType"))
    if found:
        raise LocalizerImage(f"{name}: is a {min(found).lower()} (Image Type), a slice of a volume was expected")


def check_single_grey(ds: Dataset, name: str, *, expected: str) -> None:
    """One frame, one sample for each pixel. Raises: ``UnsupportedImage``, ``NoPixels``."""
    frames = integer(ds, "NumberOfFrames")
    if is_present(ds, "NumberOfFrames") and frames != 1:
        raise UnsupportedImage(
            f"{name}: has {frames or 'an unreadable number of'} frames, {expected} of a single frame was expected"
        )
    if not (is_present(ds, "Rows") and is_present(ds, "Columns")):
        raise NoPixels(f"{name}: has no pixels (no Rows and Columns), an image was expected")
    samples = integer(ds, "SamplesPerPixel")
    if samples != 1:
        raise UnsupportedImage(
            f"{name}: has {samples or 'no usable number of'} samples per pixel, 1 (grey) was expected"
        )


def _check_pixel_module(ds: Dataset, name: str) -> None:
    check_single_grey(ds, name, expected="a slice")
    photometric = text(ds, "PhotometricInterpretation")
    if photometric == "MONOCHROME1":
        # Low values are white. Whether the sender inverted the stored values to get there or only their display cannot
        # be told from the header, and the two need opposite treatment: a model would see a negative without notice.
        raise UnsupportedImage(f"{name}: is MONOCHROME1 (inverted display), slices of a volume must be MONOCHROME2")
    if photometric != "MONOCHROME2":
        raise UnsupportedImage(
            f"{name}: is {photometric or 'of no photometric interpretation'}, not MONOCHROME2 (grey)"
        )
    if integer(ds, "BitsAllocated") not in (8, 16, 32):
        bits = text(ds, "BitsAllocated") or "no"
        raise UnsupportedImage(f"{name}: has {bits} bits allocated for a pixel, 8, 16 or 32 were expected")
    if is_present(ds, "ModalityLUTSequence"):
        raise UnsupportedImage(f"{name}: has a Modality LUT Sequence, only Rescale Slope and Intercept are read")


def _plane(ds: Dataset, name: str) -> Plane:
    x, y, z = _numbers(ds, name, "ImagePositionPatient", 3)
    row_direction, column_direction = _directions(_numbers(ds, name, "ImageOrientationPatient", 6), name)
    row_mm, column_mm = _numbers(ds, name, "PixelSpacing", 2)
    if row_mm <= 0 or column_mm <= 0:
        raise NoGeometry(f"{name}: PixelSpacing is {row_mm:g} × {column_mm:g} mm, numbers above zero were expected")
    frame_of_reference_uid = text(ds, "FrameOfReferenceUID")
    if not frame_of_reference_uid:
        raise NoGeometry(f"{name}: FrameOfReferenceUID is missing, its position has no origin")
    return Plane(
        name=name,
        position=(x, y, z),
        row_direction=row_direction,
        column_direction=column_direction,
        pixel_spacing_mm=(row_mm, column_mm),
        rows=count(ds, name, "Rows"),
        columns=count(ds, name, "Columns"),
        frame_of_reference_uid=frame_of_reference_uid,
    )


def _numbers(ds: Dataset, name: str, keyword: str, count: int) -> tuple[float, ...]:
    if not is_present(ds, keyword):
        raise NoGeometry(f"{name}: {keyword} is missing, so its place in the patient is unknown")
    numbers = decimals(ds, keyword)
    if len(numbers) != count:
        raise NoGeometry(f"{name}: {keyword} is not usable, {count} finite numbers were expected")
    return numbers


def _directions(cosines: tuple[float, ...], name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Row and column direction as exact unit vectors at a right angle."""
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    lengths, dot = (float(np.linalg.norm(row)), float(np.linalg.norm(column))), float(row @ column)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(dot)) > _ORTHONORMAL:
        raise NoGeometry(
            f"{name}: ImageOrientationPatient is not usable: lengths {lengths[0]:.4g} and {lengths[1]:.4g} with dot "
            f"product {dot:.4g}, two unit vectors at a right angle were expected"
        )
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return (float(row[0]), float(row[1]), float(row[2])), (float(column[0]), float(column[1]), float(column[2]))


def count(ds: Dataset, name: str, keyword: str) -> int:
    """Rows or Columns. Raises: ``NoPixels`` when it is no number above zero."""
    found = integer(ds, keyword)
    if found is None or found <= 0:
        raise NoPixels(f"{name}: {keyword} is {text(ds, keyword) or 'not readable'}, a number above zero was expected")
    return found
