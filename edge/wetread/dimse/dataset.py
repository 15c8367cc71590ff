"""Read one Part 10 file: its header, its identity, and what it says about its study. No network here.

pydicom is lenient: it returns what it could read of a file that ends too early. A file that ends inside its header is
refused here, because a missing attribute would otherwise pass as "absent".
"""

from __future__ import annotations

import errno
import io
from pathlib import Path

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from wetread.dimse.attributes import integer, text
from wetread.dimse.describe import build_study, describe_film, describe_patient
from wetread.dimse.digest import digest_dataset, raw_elements
from wetread.errors import NotDicom, SpoolUnavailable
from wetread.records.study import InstanceRef

__all__ = [
    "build_study",
    "content_digest",
    "describe_film",
    "describe_instance",
    "describe_patient",
    "is_cut_short",
    "pixel_data_begins",
    "read_dataset",
    "read_header",
    "read_instance",
    "reference_of",
]

_PIXEL_GROUP = 0x7FE0
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ELEMENT_HEADER_BYTES = 8
_PASSING = frozenset({errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT})
"""Errors of the machine, not of the file: try again later."""


def read_header(path: Path) -> FileDataset:
    """Everything before the pixel data.

    Raises: ``NotDicom`` when the file is not DICOM Part 10 or ends inside its header;
    ``SpoolUnavailable`` when the disk fails.
    """
    return _read(path, stop_before_pixels=True)


def read_dataset(path: Path) -> FileDataset:
    """The whole file, pixel data still encoded.

    Pixel data that the file cuts short is returned short, or is missing where it is encapsulated: such an instance
    keeps its place in the study, and whoever needs its pixels says what is wrong with them.
    Raises: as ``read_header``.
    """
    try:
        return _read(path, stop_before_pixels=False)
    except NotDicom:
        return read_header(path)


def pixel_data_begins(path: Path) -> bool:
    """Whether anything follows the header: tells pixel data that was cut short from no pixel data at all.

    Raises: as ``read_header``.
    """
    with _open(path) as stream:
        _parse(stream, path.name, stop_before_pixels=True)
        return bool(stream.read(1))


def is_cut_short(path: Path) -> bool:
    """Whether the file ends within its pixel data, or within an element behind them.

    Raises: as ``read_header``; a file that ends before its pixel data is ``NotDicom``.
    """
    header = read_header(path)
    try:
        ds = _read(path, stop_before_pixels=False)
    except NotDicom:
        return True
    if any(_is_short(element) for element in raw_elements(ds)):
        return True
    # pydicom drops encapsulated pixel data that have no end (PS3.5 A.4).
    return len(ds) == len(header) and pixel_data_begins(path)


def content_digest(path: Path) -> tuple[str, str]:
    """SHA-256 (hex) of a file's content and of its pixel data, independent of the encoding; see ``digest_dataset``.

    Raises: as ``read_header``.
    """
    return _digest(path, read_dataset(path))


def read_instance(path: Path) -> tuple[FileDataset, str, str]:
    """The header, and the digests of ``content_digest``, from one reading of the file.

    Raises: as ``read_header``.
    """
    ds = read_dataset(path)
    digest, pixel_digest = _digest(path, ds)
    for tag in [tag for tag in ds.keys() if tag.group == _PIXEL_GROUP]:  # noqa: SIM118  iterating a Dataset converts it
        ds.pop(tag)
    return ds, digest, pixel_digest


def describe_instance(path: Path) -> tuple[FileDataset, InstanceRef]:
    """Header and reference of one file, read once: what ``build_study`` takes.

    Raises: ``NotDicom`` also when the file names no study, series or instance.
    """
    ds, digest, _ = read_instance(path)
    return ds, reference_of(path, ds, digest)


def reference_of(path: Path, ds: FileDataset, digest: str = "") -> InstanceRef:
    """The instance whose header is ``ds``. Raises: ``NotDicom`` when it names no study, series or instance."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        if not text(ds, keyword):
            raise NotDicom(f"{path.name}: has no {keyword}, so it belongs to no study")
    uid, sop_class = text(ds, "SOPInstanceUID"), text(ds, "SOPClassUID")
    number = integer(ds, "InstanceNumber")
    return InstanceRef(uid, sop_class, path, digest, number, film=describe_film(ds))


def _digest(path: Path, ds: FileDataset) -> tuple[str, str]:
    try:
        return digest_dataset(ds)
    except Exception as exc:  # a sequence that cannot be parsed raises anything
        raise NotDicom(f"{path.name}: its data set cannot be parsed ({type(exc).__name__})") from exc


def _read(path: Path, *, stop_before_pixels: bool) -> FileDataset:
    with _open(path) as stream:
        return _parse(stream, path.name, stop_before_pixels=stop_before_pixels)


def _parse(stream: _Stream, name: str, *, stop_before_pixels: bool) -> FileDataset:
    try:
        ds = pydicom.dcmread(stream, stop_before_pixels=stop_before_pixels)
    except InvalidDicomError as exc:
        raise NotDicom(f"{name}: is not a DICOM file, it has no 'DICM' at byte 128 (PS3.10 7.1)") from exc
    except MemoryError:
        raise
    except Exception as exc:  # pydicom's parser lets through what struct, zlib and its converters raise
        if isinstance(exc, OSError) and exc.errno in _PASSING:
            raise SpoolUnavailable(f"{name}: the disk could not be read: {exc.strerror}") from exc
        raise NotDicom(f"{name}: its header cannot be parsed ({type(exc).__name__})") from exc
    if stream.ended_inside_element or _is_cut(ds):
        raise NotDicom(f"{name}: the file ends inside its header; it was not written or sent completely")
    if not len(ds):
        raise NotDicom(f"{name}: holds no data set")
    return ds


def _open(path: Path) -> _Stream:
    try:
        return _Stream(io.FileIO(str(path)))  # pydicom adds the name to a text
    except OSError as exc:
        problem = f"{path.name}: cannot be opened: {exc.strerror}"
        raise (SpoolUnavailable if exc.errno in _PASSING else NotDicom)(problem) from exc


def _is_cut(ds: FileDataset) -> bool:
    elements = [*raw_elements(ds.file_meta), *raw_elements(ds)]
    return any(_is_short(element) for element in elements if element.tag.group != _PIXEL_GROUP)


def _is_short(element: object) -> bool:
    if not isinstance(element, RawDataElement) or element.length == _UNDEFINED_LENGTH:
        return False
    return len(element.value or b"") < element.length


class _Stream(io.BufferedReader):
    """A file that notices when it ends within an element's tag and length, which pydicom takes for its end."""

    ended_inside_element = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size == _ELEMENT_HEADER_BYTES and 0 < len(data) < size:
            self.ended_inside_element = True
        return data
