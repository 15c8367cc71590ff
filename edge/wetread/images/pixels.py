"""The pixels of one file as modality values. Every transfer syntax that pydicom and its plugins decode."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID

from wetread.dimse.attributes import decimals, integer, is_present
from wetread.dimse.dataset import pixel_data_begins, read_dataset
from wetread.errors import NoPixels, TruncatedPixels, UnsupportedImage
from wetread.records.study import InstanceRef


def decode(instance: InstanceRef, *, rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Stored values × Rescale Slope + Rescale Intercept of this one file (PS3.3 C.11.1), HU for CT.

    PET and some MR scanners give every slice its own slope. Pixel Padding Value is left as it is.
    Returns: ``(row, column)``.
    Raises: ``NoPixels``, ``TruncatedPixels``, ``UnsupportedImage``; the message names the file.
    """
    ds, stored = stored_values(instance, rows=rows, columns=columns)
    slope, intercept = rescale_of(ds, instance.label)
    values = np.multiply(stored, slope, dtype=np.float64)
    values += intercept
    return values.astype(np.float32)


def stored_values(
    instance: InstanceRef, *, rows: int, columns: int
) -> tuple[FileDataset, npt.NDArray[np.integer[Any]]]:
    """The data set of this one file, and its stored values ``(row, column)``.

    Raises: ``NoPixels``, ``TruncatedPixels``, ``UnsupportedImage``; the message names the file.
    """
    name = instance.label
    ds = read_dataset(instance.path)
    if "PixelData" not in ds:
        if pixel_data_begins(instance.path):
            raise TruncatedPixels(f"{name}: its pixel data is damaged or cut short")
        raise NoPixels(f"{name}: has no Pixel Data (7FE0,0010), an image was expected")
    rescale_of(ds, name)  # what is wrong with it is said before the pixels are decoded
    _check_decodable(ds, name)
    stored = _decoded(ds, name)
    if stored.shape != (rows, columns):
        raise TruncatedPixels(f"{name}: decodes to {stored.shape} pixels, its header promises {(rows, columns)}")
    return ds, stored


def rescale_of(ds: FileDataset, name: str) -> tuple[float, float]:
    """Rescale Slope and Rescale Intercept. Raises: ``UnsupportedImage`` when they cannot be used."""
    slope = _one_number(ds, name, "RescaleSlope", 1.0)
    if slope == 0:
        raise UnsupportedImage(f"{name}: RescaleSlope is 0, which makes every pixel the same")
    return slope, _one_number(ds, name, "RescaleIntercept", 0.0)


def _one_number(ds: FileDataset, name: str, keyword: str, default: float) -> float:
    if not is_present(ds, keyword):
        return default
    numbers = decimals(ds, keyword)
    if len(numbers) != 1:
        raise UnsupportedImage(f"{name}: {keyword} is not usable, one finite number was expected")
    return numbers[0]


def _check_decodable(ds: FileDataset, name: str) -> None:
    syntax = ds.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise UnsupportedImage(f"{name}: names no transfer syntax, its pixels cannot be decoded")
    if UID(syntax).is_private or not UID(syntax).is_transfer_syntax:
        raise UnsupportedImage(f"{name}: transfer syntax {syntax} is not known")
    if not UID(syntax).is_encapsulated:
        _check_length(ds, name)
        return
    try:
        available = get_decoder(UID(syntax)).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise UnsupportedImage(f"{name}: there is no decoder for its transfer syntax {UID(syntax).name}")


def _check_length(ds: FileDataset, name: str) -> None:
    rows, columns, bits = (integer(ds, keyword) or 0 for keyword in ("Rows", "Columns", "BitsAllocated"))
    promised, found = rows * columns * bits // 8, len(ds.PixelData or b"")
    if found < promised:
        raise TruncatedPixels(
            f"{name}: has {found} bytes of pixel data, {rows} × {columns} pixels of {bits} bits need {promised}"
        )


def _decoded(ds: FileDataset, name: str) -> npt.NDArray[np.integer[Any]]:
    try:
        # pydicom also clears the bits above Bits Stored and extends the sign of those below.
        return pixel_array(ds)
    except MemoryError:
        raise
    except Exception as exc:  # decoders raise what they like; for us the stream is broken
        syntax = ds.file_meta.TransferSyntaxUID.name
        raise TruncatedPixels(f"{name}: its pixel data ({syntax}) cannot be decoded ({type(exc).__name__})") from exc
