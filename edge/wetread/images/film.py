"""One CR or DX instance becomes a ``Radiograph``, or the reason why it cannot."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset

from wetread.dimse.attributes import decimals, integer, is_present, text, texts
from wetread.dimse.dataset import read_header
from wetread.errors import UnsupportedImage
from wetread.images.display import displayed
from wetread.images.hanging import Orientation, upright
from wetread.images.instance import check_single_grey, count
from wetread.images.pixels import stored_values
from wetread.records.radiograph import Radiograph, Turn
from wetread.records.sop_classes import is_film
from wetread.records.study import Film, InstanceRef, SeriesRef

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")
"""In the patient, or at the detector; the first one that is usable (PS3.3 10.7.1.3)."""


def read_radiograph(series: SeriesRef) -> Radiograph:
    """The one film of ``series`` (which a route narrowed to it), upright and as displayed.

    Raises: ``NotDicom``, ``NoPixels``, ``TruncatedPixels`` or ``UnsupportedImage``; the message names the file.
    """
    if len(series.instances) != 1:
        raise UnsupportedImage(f"{series.label} has {len(series.instances)} instances, one film was expected")
    instance = series.instances[0]
    name = instance.label
    rows, columns = _checked(read_header(instance.path), instance, name)
    ds, stored = stored_values(instance, rows=rows, columns=columns)
    padding = _padding(stored, ds)
    if padding.all() or np.ptp(stored[~padding]) == 0:
        raise UnsupportedImage(f"{name}: every pixel has the same value, there is nothing on this film")
    grey = displayed(stored, ds, name, shown=~padding)
    grey[padding] = 0.0
    turn, orientation = upright(_orientation(ds))
    spacing_mm, spacing_from = _spacing(ds, turn)
    film = instance.film or Film()
    return Radiograph(
        array=turn.hang(grey.astype(np.float32)),
        padding=turn.hang(padding),
        turn=turn,
        series=series,
        instance=instance,
        spacing_mm=spacing_mm,
        spacing_from=spacing_from,
        patient_orientation=orientation,
        view_position=film.view_position,
        laterality=film.laterality,
    )


def foreseen_film(series: SeriesRef) -> tuple[int, int]:
    """Rows and columns that ``read_radiograph`` will give, from the header alone. Raises: as it does."""
    ds = read_header(series.instances[0].path)
    rows, columns = _checked(ds, series.instances[0], series.instances[0].label)
    return (columns, rows) if upright(_orientation(ds))[0].transpose else (rows, columns)


def _checked(ds: Dataset, instance: InstanceRef, name: str) -> tuple[int, int]:
    """Rows and columns of a header that can be a film."""
    if not is_film(instance.sop_class_uid):
        found = ds.SOPClassUID.name if "SOPClassUID" in ds else "of no SOP class"
        raise UnsupportedImage(f"{name}: is {found}, a CR or DX image was expected")
    check_single_grey(ds, name, expected="a film")
    if text(ds, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        found = text(ds, "PhotometricInterpretation") or "of no photometric interpretation"
        raise UnsupportedImage(f"{name}: is {found}, a film is MONOCHROME1 or MONOCHROME2 (grey)")
    allocated, stored, high = (integer(ds, keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated not in (8, 16) or not stored or stored > allocated or high != stored - 1:
        raise UnsupportedImage(
            f"{name}: has {stored} bits stored of {allocated} with high bit {high}; 8 or 16 allocated and the high bit "
            "next to the stored ones were expected"
        )
    return count(ds, name, "Rows"), count(ds, name, "Columns")


def _padding(stored: npt.NDArray[np.integer], ds: FileDataset) -> npt.NDArray[np.bool_]:
    """Pixels of Pixel Padding Value, or between it and Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2)."""
    if not is_present(ds, "PixelPaddingValue"):
        return np.zeros(stored.shape, np.bool_)
    limits = [_as_stored(ds, keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    low, high = min(v for v in limits if v is not None), max(v for v in limits if v is not None)
    return (stored >= low) & (stored <= high)


def _as_stored(ds: FileDataset, keyword: str) -> int | None:
    """The value in the sign of the pixels, whatever VR (US or SS) it was written with."""
    value = integer(ds, keyword)
    if value is None:
        return None
    signed = integer(ds, "PixelRepresentation") == 1
    if signed and value >= 2**15:
        return value - 2**16
    return value + 2**16 if not signed and value < 0 else value


def _orientation(ds: Dataset) -> Orientation:
    letters = texts(ds, "PatientOrientation")
    return (letters[0].upper(), letters[1].upper()) if len(letters) == 2 else ("", "")


def _spacing(ds: Dataset, turn: Turn) -> tuple[tuple[float, float] | None, str]:
    for keyword in _SPACINGS:
        numbers = decimals(ds, keyword)
        if len(numbers) == 2 and min(numbers) > 0:
            return turn.spacing((numbers[0], numbers[1])), keyword
    return None, ""
