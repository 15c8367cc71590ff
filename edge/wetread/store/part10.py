"""What stands before a data set in a spool file: preamble, File Meta Information and in it the provenance (PS3.10 7.1).

Written by hand, 10 microseconds for each instance where pydicom takes 270; read by pydicom.
"""

from __future__ import annotations

import contextlib
import json
import re
import struct
import zlib
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from wetread.errors import InstanceRefused, SpoolUnavailable
from wetread.records.received import Provenance, ReceivedInstance
from wetread.store.header import (
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    check_end,
    plain_uids,
)

PROVENANCE_CREATOR = "2.25.269284612403741064427903458216912236981"
"""Private Information Creator UID of our provenance record."""

IMPLEMENTATION_CLASS_UID = "2.25.190403741064427903458216912236982840001"

# Dots and digits, not empty, at most 64 (PS3.5 9.1). Leading zeros are wrong but common and harmless.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_TAGS = {
    SOP_CLASS_UID: "SOPClassUID",
    SOP_INSTANCE_UID: "SOPInstanceUID",
    STUDY_INSTANCE_UID: "StudyInstanceUID",
    SERIES_INSTANCE_UID: "SeriesInstanceUID",
}
_CREATOR, _PRIVATE_INFORMATION = 0x00020100, 0x00020102
_NOT_PLAIN = frozenset({DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian})
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2sxxL")
_WINDOW_BYTES = 2**16
_LARGEST_HEADER_BYTES = 2**28
_PIXEL_GROUP = 0x7FE0


def is_uid(text: str) -> bool:
    """Whether ``text`` is usable as a UID."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def meta_of(received: ReceivedInstance) -> bytes:
    """Preamble, prefix and File Meta Information with the provenance (PS3.10 Table 7.1-1)."""
    provenance = received.provenance
    fields = {name: getattr(provenance, name) for name in Provenance.__slots__}
    fields["received_at"] = provenance.received_at.isoformat()
    elements = (
        _LONG.pack(2, 0x0001, b"OB", 2) + b"\x00\x01"
        + _short(0x0002, b"UI", received.sop_class_uid)
        + _short(0x0003, b"UI", received.sop_instance_uid)
        + _short(0x0010, b"UI", received.transfer_syntax_uid)
        + _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID)
        + _short(0x0013, b"SH", "WETREAD ")
        + _short(0x0100, b"UI", PROVENANCE_CREATOR)
        + _private(json.dumps(fields).encode())
    )  # fmt: skip
    length = _SHORT.pack(2, 0, b"UL", 4) + struct.pack("<L", len(elements))
    return b"\0" * 128 + b"DICM" + length + elements


def provenance_in(meta: Dataset) -> Provenance | None:
    """The provenance in a file's meta information; None if another program wrote the file."""
    if _encoded(meta, _CREATOR).decode("ascii", "replace") != PROVENANCE_CREATOR:
        return None
    fields = json.loads(_encoded(meta, _PRIVATE_INFORMATION))
    return Provenance(**{**fields, "received_at": datetime.fromisoformat(fields["received_at"])})


def _encoded(meta: Dataset, tag: int) -> bytes:
    """The bytes of a value without padding, whether pydicom has looked at it or not."""
    value = meta.get_item(tag).value if tag in meta else b""
    return (value.encode() if isinstance(value, str) else bytes(value or b"")).rstrip(b"\0 ")


def provenance_of(path: Path) -> Provenance | None:
    """The provenance inside a spool file; None if another program wrote the file."""
    return provenance_in(pydicom.filereader.read_file_meta_info(path))


def check(received: ReceivedInstance) -> None:
    """Refuse what could never be indexed, while the sender can still be told.

    Raises: ``InstanceRefused``.
    """
    if not is_uid(received.sop_instance_uid):
        raise InstanceRefused("the SOP Instance UID is not a valid UID")
    try:
        values = _header(received)
    except MemoryError as exc:
        raise SpoolUnavailable("there is not enough memory to look at the instance") from exc
    except EOFError as exc:
        raise InstanceRefused("the data set ends within an element: it is not whole") from exc
    except Exception as exc:  # pydicom raises whatever the damage leads to; the sender is told, nothing is kept
        raise InstanceRefused("the data set cannot be read") from exc
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not is_uid(values[keyword]):
            raise InstanceRefused(f"{keyword} is missing or not a valid UID")
    if values["SOPInstanceUID"] != received.sop_instance_uid or values["SOPClassUID"] != received.sop_class_uid:
        raise InstanceRefused("SOP Class or Instance UID of request and data set differ")


def _header(received: ReceivedInstance) -> dict[str, str]:
    """The identifying attributes; read from the first bytes, and from all if those end before the pixel data."""
    syntax = UID(received.transfer_syntax_uid)
    dataset = received.dataset
    if syntax not in _NOT_PLAIN:
        plain = plain_uids(dataset, implicit_vr=syntax == ImplicitVRLittleEndian)
        if plain is not None:
            return {keyword: plain[tag] for tag, keyword in _TAGS.items()}
    whole = True
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset, whole = _inflated(dataset)
    header, pixels_at = _parse_begin(dataset, syntax)
    if pixels_at is not None and whole and syntax.is_little_endian and not syntax.is_implicit_VR:
        check_end(dataset, pixels_at, implicit_vr=False)
    return header


def _inflated(dataset: bytes | memoryview) -> tuple[bytes, bool]:
    """A deflated data set (PS3.5 A.5) up to the size of the largest header, and whether that is all of it.

    Raises: ``EOFError`` when the compressed bytes end before the data set does.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(dataset, _LARGEST_HEADER_BYTES)
    if not inflater.eof and len(inflated) < _LARGEST_HEADER_BYTES:
        raise EOFError
    return inflated, inflater.eof


def _parse_begin(dataset: bytes | memoryview, syntax: UID) -> tuple[dict[str, str], int | None]:
    """As ``_parse``; a large data set is only read as far as its header goes."""
    if len(dataset) > _WINDOW_BYTES:
        with contextlib.suppress(Exception):  # cut by the window, not by the sender
            header, pixels_at = _parse(dataset[:_WINDOW_BYTES], syntax)
            if pixels_at is not None:
                return header, pixels_at
    return _parse(dataset, syntax)


def _parse(data: bytes | memoryview, syntax: UID) -> tuple[dict[str, str], int | None]:
    """The attributes in ``data``, and where in it the pixel data begin, if they do."""
    reached = False

    def at_pixels(tag: int, _vr: str | None, _length: int) -> bool:
        nonlocal reached
        reached = tag >> 16 >= _PIXEL_GROUP
        return reached

    stream = BytesIO(data)
    ds = read_dataset(
        stream, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=at_pixels, specific_tags=list(_TAGS)
    )
    return {keyword: str(ds.get(keyword, "")) for keyword in _TAGS.values()}, stream.tell() if reached else None


def _short(number: int, vr: bytes, value: str) -> bytes:
    data = value.encode() + b"\0" * (len(value) % 2)
    return _SHORT.pack(2, number, vr, len(data)) + data


def _private(value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return _LONG.pack(2, 0x0102, b"OB", len(value)) + value
