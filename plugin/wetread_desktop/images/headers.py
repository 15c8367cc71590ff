"""What opening a folder learns of each slice, so that no header is read twice: its place and its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from wetread.dimse.attributes import decimals, integer, text
from wetread.dimse.dataset import read_header
from wetread.errors import StudyRejected
from wetread.images.instance import Slice, slice_of
from wetread.records.sop_classes import is_film
from wetread.records.study import InstanceRef

Pixels = npt.NDArray[np.int16] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
"""Modality values in the smallest type that holds them: 3,000 slices have to fit into a workstation's memory."""
_NO_LIMIT = float("inf")


@dataclass(frozen=True, slots=True)
class Header:
    """One slice before its pixels are read."""

    slice: Slice
    lowest: float
    """Modality values lie between this and ``highest`` (infinite where the header does not say) ..."""
    highest: float
    is_whole: bool
    """... and have no fractions."""
    is_ct: bool


class Headers:
    """Of the files that were opened, by path."""

    def __init__(self) -> None:
        self._known: dict[Path, Header] = {}

    def __len__(self) -> int:
        """How many are known."""
        return len(self._known)

    def see(self, ds: Dataset, instance: InstanceRef) -> None:
        """Keep what a header says; nothing of a film, or of what is no slice."""
        if is_film(instance.sop_class_uid):
            return
        try:
            self._known[instance.path] = header_of(ds, instance)
        except StudyRejected:
            return  # said when somebody asks for this image

    def of(self, instance: InstanceRef) -> Header:
        """Of one slice, read now if it was not before. Raises: as ``wetread.images.instance.read_slice``."""
        known = self._known.get(instance.path)
        return known or header_of(read_header(instance.path), instance)


def header_of(ds: Dataset, instance: InstanceRef) -> Header:
    """Raises: ``StudyRejected`` when this is no slice of a volume."""
    placed = slice_of(ds, instance)
    lowest, highest, is_whole = _values(ds)
    return Header(placed, lowest, highest, is_whole, text(ds, "Modality") == "CT")


def kind_of(headers: Sequence[Header]) -> np.dtype[np.int16] | np.dtype[np.uint16] | np.dtype[np.float32]:
    """The smallest type that holds the values of all of them.

    Hounsfield units beyond 16 bits (padding, moved by Rescale Intercept) are cut to the ends: they are looked at only.
    """
    if all(h.is_whole for h in headers):
        lowest, highest = min(h.lowest for h in headers), max(h.highest for h in headers)
        for kind in (np.dtype(np.int16), np.dtype(np.uint16)):
            if np.iinfo(kind).min <= lowest and highest <= np.iinfo(kind).max:
                return kind
        if all(h.is_ct for h in headers):
            return np.dtype(np.int16)
    return np.dtype(np.float32)


def _values(ds: Dataset) -> tuple[float, float, bool]:
    """Lowest and highest modality value that the header allows, and whether they are whole numbers."""
    slope, intercept = (decimals(ds, "RescaleSlope") or (1.0,))[0], (decimals(ds, "RescaleIntercept") or (0.0,))[0]
    bits = integer(ds, "BitsStored") or 0
    if bits <= 0:
        return -_NO_LIMIT, _NO_LIMIT, False
    is_signed = integer(ds, "PixelRepresentation") == 1
    first, last = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    ends = sorted((first * slope + intercept, last * slope + intercept))
    return ends[0], ends[1], slope.is_integer() and intercept.is_integer()
