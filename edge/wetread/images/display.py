"""Stored values of a film as they are shown: modality LUT, VOI LUT or window, presentation LUT (PS3.4 N.2).

Looked up here and not by ``pydicom.pixels``, which (3.0.2) wraps round in an 8-bit VOI LUT of more than 256 entries,
ignores a slope without intercept, inverts by the largest value of each single image, and does not say on which scale
its answer is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset

from wetread.dimse.attributes import decimals, integer, is_present, text
from wetread.errors import UnsupportedImage
from wetread.images.pixels import rescale_of

Values = npt.NDArray[np.float64]
_LARGEST_EXPONENT = 700.0
"""Beyond it the exponential of a float64 overflows; the sigmoid is 0 or 1 long before."""


def displayed(stored: npt.NDArray[np.integer], ds: FileDataset, name: str, *, shown: npt.NDArray[np.bool_]) -> Values:
    """``stored`` as displayed: from 0 (black) to 1 (white).

    ``shown``: where the image is, without padding; its range is the window of a film that brings none. Of several
    windows or LUTs the first is taken, a LUT before a window (PS3.3 C.11.2.1).
    Raises: ``UnsupportedImage`` for a LUT or window that cannot be used, or where the film contradicts itself about
    whether its low values are white.
    """
    inverted = _low_is_white(ds, name)
    values = _modality_values(stored, ds, name)
    grey = _voi(values, ds, name, shown=shown)
    if inverted:
        np.subtract(1.0, grey, out=grey)
    return grey


def _modality_values(stored: npt.NDArray[np.integer], ds: FileDataset, name: str) -> Values:
    lut = _lut(ds, "ModalityLUTSequence", name)
    if lut is not None:
        return lut.look_up(stored).astype(np.float64)
    slope, intercept = rescale_of(ds, name)
    return stored.astype(np.float64) * slope + intercept


def _voi(values: Values, ds: FileDataset, name: str, *, shown: npt.NDArray[np.bool_]) -> Values:
    lut = _lut(ds, "VOILUTSequence", name)
    if lut is not None:
        return lut.look_up(np.rint(values).astype(np.int64)) / lut.largest
    if is_present(ds, "WindowCenter") and is_present(ds, "WindowWidth"):
        return _windowed(values, ds, name)
    low, high = float(values[shown].min()), float(values[shown].max())
    return np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(values)


def _windowed(values: Values, ds: FileDataset, name: str) -> Values:
    """PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (LINEAR_EXACT)."""
    centres, widths = decimals(ds, "WindowCenter"), decimals(ds, "WindowWidth")
    function = text(ds, "VOILUTFunction").upper() or "LINEAR"
    if not centres or not widths or widths[0] < (1 if function == "LINEAR" else 0) or widths[0] == 0:
        raise UnsupportedImage(
            f"{name}: its window (centre {text(ds, 'WindowCenter')}, width {text(ds, 'WindowWidth')}) cannot be used"
        )
    centre, width = centres[0], widths[0]
    if function == "SIGMOID":
        exponent = np.clip(-4.0 * (values - centre) / width, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        return 1.0 / (1.0 + np.exp(exponent))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1.0
    elif function != "LINEAR_EXACT":
        raise UnsupportedImage(f"{name}: its VOI LUT Function {function} is not known")
    if width == 0.0:  # a threshold
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0.0, 1.0)


def _low_is_white(ds: FileDataset, name: str) -> bool:
    """MONOCHROME1 and INVERSE say the same and count once (PS3.3 C.8.11.3.1.2)."""
    photometric, shape = text(ds, "PhotometricInterpretation"), text(ds, "PresentationLUTShape").upper()
    if is_present(ds, "PresentationLUTSequence"):
        raise UnsupportedImage(f"{name}: has a Presentation LUT Sequence, only a Presentation LUT Shape is read")
    if shape not in ("", "IDENTITY", "INVERSE"):
        raise UnsupportedImage(f"{name}: its Presentation LUT Shape {shape} is not known")
    inverted = photometric == "MONOCHROME1"
    if shape and inverted != (shape == "INVERSE"):
        raise UnsupportedImage(
            f"{name}: is {photometric} with a Presentation LUT Shape of {shape}: one says that low values are white, "
            "the other that they are black, so nobody knows whether bone is bright"
        )
    return inverted


@dataclass(frozen=True, slots=True)
class _Lut:
    """A lookup table (PS3.3 C.11.1.1, C.11.2.1.1)."""

    first: int
    """The input value of the first entry; lower inputs give it too, higher ones than the last entry give the last."""
    entries: npt.NDArray[np.int64]
    largest: int
    """Largest value that the entries can have."""

    def look_up(self, values: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        return self.entries[np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)]


def _lut(ds: FileDataset, keyword: str, name: str) -> _Lut | None:
    if not is_present(ds, keyword):
        return None
    item = ds[keyword].value[0]
    descriptor = decimals(item, "LUTDescriptor")
    if len(descriptor) != 3 or not 8 <= descriptor[2] <= 16:
        raise UnsupportedImage(f"{name}: the LUT Descriptor in its {keyword} cannot be used")
    count, first, bits = (int(number) for number in descriptor)
    little = ds.original_encoding[1] is not False
    # 65536 does not fit into 16 bits and is written as 0.
    entries = _entries(_words(item, bits, little=little, count=count or 2**16), count or 2**16, name)
    if first >= 2**15 and integer(ds, "PixelRepresentation") == 1:
        first -= 2**16  # a negative number under the VR of unsigned ones
    return _Lut(first, entries, 2**bits - 1)


def _words(item: Dataset, bits: int, *, little: bool, count: int) -> npt.NDArray[np.int64]:
    """LUT Data: words, or bytes where 8-bit entries are packed two to a word."""
    data = item.get("LUTData")
    if isinstance(data, bytes):
        packed = bits == 8 and len(data) < 2 * count
        words = np.frombuffer(data[: len(data) // 2 * 2], np.uint8 if packed else ("<u2" if little else ">u2"))
    else:
        words = np.atleast_1d(np.asarray([] if data is None else data, np.int64))
    return words.astype(np.int64) & (2**bits - 1)


def _entries(words: npt.NDArray[np.int64], count: int, name: str) -> npt.NDArray[np.int64]:
    if len(words) < count:
        raise UnsupportedImage(f"{name}: its lookup table has {len(words)} entries, its descriptor promises {count}")
    return words[:count]
