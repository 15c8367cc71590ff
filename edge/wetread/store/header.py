"""The four UIDs that identify an instance, found in its encoded data set by hand.

50 microseconds for each instance where pydicom takes 270. Only what is plain is read here, from its first element to
the pixel data: little endian, lengths that fit, known VRs (PS3.5 7.1). Everything else is ``None`` and goes to pydicom,
so what is unusual is judged by one implementation only. From the pixel data on only lengths are looked at: whether the
data set was sent to its end is known without reading a pixel.
"""

from __future__ import annotations

import contextlib
import re
import struct

_SHORT = struct.Struct("<HH2sH")
_LENGTH = struct.Struct("<L")
_IMPLICIT = struct.Struct("<HHL")

# PS3.5 7.1.2: two bytes of length, or two reserved and four of length
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

_HEAD_BYTES = 8
_PIXEL_GROUP = 0x7FE0
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST = 16
_UID = re.compile(rb"[0-9]+(\.[0-9]+)*")

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E
_WANTED = frozenset({SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID})


class _Unusual(Exception):
    """Not for us."""


def plain_uids(dataset: bytes | memoryview, *, implicit_vr: bool) -> dict[int, str] | None:
    """Tag to UID of all four; ``None`` when one is missing or anything before the pixel data is not plain.

    Raises: ``EOFError`` when the data set ends within an element. In implicit VR before the last of the four it is
    ``None``, too: there a length that does not fit may as well mean that the VRs are explicit after all.
    """
    found: dict[int, str] = {}
    try:
        pixels_at = _walk(dataset, found, implicit_vr=implicit_vr)
    except (_Unusual, struct.error):
        return None
    except EOFError:
        if implicit_vr and len(found) < len(_WANTED):
            return None
        raise
    if len(found) < len(_WANTED):
        return None
    check_end(dataset, pixels_at, implicit_vr=implicit_vr)
    return found


def check_end(data: bytes | memoryview, offset: int, *, implicit_vr: bool) -> None:
    """Whether the elements from ``offset`` on, where the pixel data begin, are all there (little endian).

    What is unusual behind the header is not judged. Raises: ``EOFError`` when the data end within an element.
    """
    end = len(data)
    with contextlib.suppress(_Unusual):
        while offset < end and any(data[offset : offset + _HEAD_BYTES]):  # zeros behind the last element: padding
            try:
                tag, vr, length, offset = _element(data, offset, implicit_vr=implicit_vr)
                if tag >> 16 < _PIXEL_GROUP:
                    return  # no element can follow in this order: padding
                if length != _UNDEFINED:
                    offset += length
                elif vr == b"SQ":
                    offset = _after_sequence(data, offset, vr, implicit_vr=implicit_vr, depth=0)
                else:
                    offset = _after_fragments(data, offset)
            except struct.error as exc:
                raise EOFError from exc
        if offset > end:
            raise EOFError


def _after_fragments(data: bytes | memoryview, offset: int) -> int:
    """Where encapsulated pixel data end (PS3.5 A.4). Raises: ``struct.error`` when they go on behind ``data``."""
    while True:
        group, number, length = _IMPLICIT.unpack_from(data, offset)
        offset += 8
        tag = group << 16 | number
        if tag == _SEQUENCE_END and not length:
            return offset
        if tag != _ITEM or length == _UNDEFINED:
            raise _Unusual
        offset += length


def _walk(data: bytes | memoryview, found: dict[int, str], *, implicit_vr: bool) -> int:
    """Put into ``found`` what is wanted; where the pixel data begin (the end of ``data`` where there are none)."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < _HEAD_BYTES:
            raise EOFError
        begins = offset
        try:
            tag, vr, length, offset = _element(data, offset, implicit_vr=implicit_vr)
        except struct.error as exc:
            raise EOFError from exc
        if tag >> 16 >= _PIXEL_GROUP:
            return begins
        if length == _UNDEFINED:
            offset = _after_sequence(data, offset, vr, implicit_vr=implicit_vr, depth=0)
            continue
        if tag in _WANTED:
            if vr not in (b"UI", b""):
                raise _Unusual  # pydicom says what it is then
            found[tag] = _uid(bytes(data[offset : offset + length]))
        offset += length
        if offset > end:
            raise EOFError
    return end


def _element(data: bytes | memoryview, offset: int, *, implicit_vr: bool) -> tuple[int, bytes, int, int]:
    """Tag, VR (empty in implicit VR), length of the value, and where it begins. Raises: ``struct.error`` at the end."""
    if implicit_vr:
        group, number, length = _IMPLICIT.unpack_from(data, offset)
        return group << 16 | number, b"", length, offset + 8
    group, number, vr, length = _SHORT.unpack_from(data, offset)
    if vr in _SHORT_VRS:
        return group << 16 | number, vr, length, offset + 8
    if vr not in _LONG_VRS:
        raise _Unusual
    return group << 16 | number, vr, _LENGTH.unpack_from(data, offset + 8)[0], offset + 12


def _after_sequence(data: bytes | memoryview, offset: int, vr: bytes, *, implicit_vr: bool, depth: int) -> int:
    """Where a sequence of undefined length ends (PS3.5 7.5.2)."""
    if vr not in (b"SQ", b"") or depth > _DEEPEST:
        raise _Unusual
    while True:
        group, number, length = _IMPLICIT.unpack_from(data, offset)
        offset += 8
        tag = group << 16 | number
        if tag == _SEQUENCE_END and not length:
            return offset
        if tag != _ITEM:
            raise _Unusual
        offset = _after_item(data, offset, length, implicit_vr=implicit_vr, depth=depth)


def _after_item(data: bytes | memoryview, offset: int, size: int, *, implicit_vr: bool, depth: int) -> int:
    """Where an item ends, of defined or undefined ``size``."""
    stop = len(data) if size == _UNDEFINED else offset + size
    while size == _UNDEFINED or offset < stop:
        group, number, length = _IMPLICIT.unpack_from(data, offset)
        if size == _UNDEFINED and group << 16 | number == _ITEM_END and not length:
            return offset + 8
        _tag, vr, length, offset = _element(data, offset, implicit_vr=implicit_vr)
        if length == _UNDEFINED:
            offset = _after_sequence(data, offset, vr, implicit_vr=implicit_vr, depth=depth + 1)
        else:
            offset += length
    if offset != stop:
        raise _Unusual
    return offset


def _uid(value: bytes) -> str:
    value = value.rstrip(b"\0 ")
    if len(value) > 64 or not _UID.fullmatch(value):
        raise _Unusual
    return value.decode("ascii")
