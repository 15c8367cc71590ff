"""The identity of an instance's content: the same tags and values give the same digest, whatever the encoding.

A PACS stores what it received in the encoding it prefers: implicit or explicit VR, big or little endian, sequences of
defined or undefined length, with or without group lengths, private elements as ``UN``. None of this changes the digest.
Compressing or decompressing the pixels does: then the values of (7FE0,0010) are other bytes.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragments
from pydicom.multival import MultiValue
from pydicom.values import convert_SQ

_PIXEL_DATA = 0x7FE00010
_SPECIFIC_CHARACTER_SET = 0x00080005
_DATA_SET_TRAILING_PADDING = 0xFFFCFFFC
_ITEM_TAG = b"\xfe\xff\x00\xe0"
_UNDEFINED_LENGTH = 0xFFFFFFFF
_WORD_BYTES = {
    **dict.fromkeys(("US", "SS", "OW", "AT", "US or SS", "OB or OW", "US or OW", "US or SS or OW"), 2),
    **dict.fromkeys(("UL", "SL", "FL", "OF", "OL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
_BINARY = frozenset({*_WORD_BYTES, "OB"})

_USED_GROUPS = frozenset({0x0010, 0x0012, 0x0018, 0x0020, 0x0028, 0x0038, 0x0054, 0x2050})
_USED_KEYWORDS = frozenset(
    {
        "AccessionNumber",
        "AdmittingDiagnosesDescription",
        "AnatomicRegionSequence",
        "ConsultingPhysicianName",
        "ImageType",
        "IssuerOfAccessionNumberSequence",
        "Manufacturer",
        "Modality",
        "NameOfPhysiciansReadingStudy",
        "PhysiciansOfRecord",
        "PresentationIntentType",
        "ProcedureCodeSequence",
        "ReasonForPerformedProcedureCodeSequence",
        "ReferencedStudySequence",
        "ReferringPhysicianIdentificationSequence",
        "ReferringPhysicianName",
        "RequestingService",
        "SeriesDescription",
        "SpecificCharacterSet",
        "StudyDate",
        "StudyDescription",
        "StudyTime",
        "TimezoneOffsetFromUTC",
    }
)
"""Of groups 0008 and 0032, what results copy and what rules look at."""
_SAYS_HOW_PIXELS_ARE_ENCODED = frozenset({0x00280004, 0x00280006, 0x00282110})
"""Photometric Interpretation, Planar Configuration, Lossy Image Compression: another transfer syntax changes them."""

_Update = Callable[[bytes], object]


def digest_dataset(ds: Dataset) -> tuple[str, str]:
    """SHA-256 (hex) of the whole content of a data set as it was read, and of its pixel data alone.

    ``ds`` must come fresh from the reader: it hashes raw values, and looking at an attribute replaces its raw value.

    Hashed for each element in tag order: tag, length and value as little endian bytes. Trailing NUL and space padding
    is left out of text; binary values keep their zeros. Private elements count as text: implicit VR does not say more.
    Not hashed: group lengths (gggg,0000), Data Set Trailing Padding (FFFC,FFFC), VRs and the Basic Offset Table.
    Pixel Data are hashed once: their digest stands in the content for their value.

    Returns: (content, pixels); ``pixels`` is empty where there is no Pixel Data (7FE0,0010).
    """
    content, pixels = hashlib.sha256(), None
    for element in _content_elements(ds):
        content.update(int(element.tag).to_bytes(4, "big"))
        if element.tag == _PIXEL_DATA:
            pixels = hashlib.sha256()
            _hash_value(element, pixels.update)
            content.update(b"p" + pixels.digest())
        else:
            _hash_value(element, content.update)
    return content.hexdigest(), pixels.hexdigest() if pixels else ""


def header_digest(ds: Dataset) -> str:
    """SHA-256 (hex) of what a read or its results take from a header; ``ds`` as in ``digest_dataset``.

    That is patient, clinical trial, visit, acquisition, relationship and image attributes, and what names study and
    series. Not hashed: private elements, equipment, procedure steps, signatures, the encoding of the pixels.
    """
    digest = hashlib.sha256()
    for element in raw_elements(ds):
        tag = element.tag
        used = tag.group in _USED_GROUPS or keyword_for_tag(tag) in _USED_KEYWORDS
        if used and tag.element and tag not in _SAYS_HOW_PIXELS_ARE_ENCODED:
            digest.update(int(tag).to_bytes(4, "big"))
            _hash_value(element, digest.update)
    return digest.hexdigest()


def raw_elements(ds: Dataset) -> Iterator[RawDataElement | DataElement]:
    """The elements as the reader left them, in tag order.

    pydicom's own ``elements()`` converts those without a value, taking them for deferred ones; ``items()`` does not.
    """
    return (element for _tag, element in sorted(ds.items(), key=_number))  # as numbers: comparing tags is slow


def _number(item: tuple[int, object]) -> int:
    return int(item[0])


def _hash_dataset(ds: Dataset, update: _Update) -> None:
    for element in _content_elements(ds):
        update(int(element.tag).to_bytes(4, "big"))
        _hash_value(element, update)


def _content_elements(ds: Dataset) -> Iterator[RawDataElement | DataElement]:
    for element in raw_elements(ds):
        if element.tag.element and element.tag != _DATA_SET_TRAILING_PADDING:
            yield element


def _hash_value(element: RawDataElement | DataElement, update: _Update) -> None:
    items = _items(element)
    if items:
        _hash_items(items, update)
        return
    for part in _parts(element):
        update(b"v" + len(part).to_bytes(8, "big"))
        update(part)


def _hash_items(items: Iterable[Dataset], update: _Update) -> None:
    for item in items:
        update(b"i")
        _hash_dataset(item, update)
    update(b"e")


def _items(element: RawDataElement | DataElement) -> list[Dataset]:
    """The items of a sequence, however it was encoded; empty for anything else and for a sequence without items."""
    if isinstance(element, DataElement):  # the reader has parsed a sequence of undefined length
        return list(element.value) if element.VR == "SQ" else []
    if element.VR == "SQ" or (element.VR in (None, "UN") and _known_vr(element.tag) == "SQ"):
        implicit = element.is_implicit_VR or element.VR == "UN"  # UN holds implicit VR little endian (PS3.5 6.2.2)
        return list(convert_SQ(element.value or b"", implicit, element.is_little_endian or element.VR == "UN"))
    return _private_items(element)


def _private_items(element: RawDataElement) -> list[Dataset]:
    value = element.value or b""
    if not (element.tag.is_private and value.startswith(_ITEM_TAG)) or element.length == _UNDEFINED_LENGTH:
        return []
    try:
        return list(convert_SQ(value, True, True))
    except Exception:  # not a sequence after all: bytes that begin like one
        return []


def _parts(element: RawDataElement | DataElement) -> list[bytes]:
    if isinstance(element, DataElement):
        return [_converted(element)]
    value = element.value or b""
    if element.length == _UNDEFINED_LENGTH and value.startswith(_ITEM_TAG):
        return list(generate_fragments(value))[1:]  # the first item is the Basic Offset Table (PS3.5 A.4)
    return [_normalised(element, value)]


def _converted(element: DataElement) -> bytes:
    """The bytes of Specific Character Set, the one element the reader itself has to look at."""
    if element.VR == "SQ":
        return b""
    if element.tag != _SPECIFIC_CHARACTER_SET:
        raise ValueError(f"{element.tag} was converted before it was hashed")
    values = element.value if isinstance(element.value, MultiValue) else [element.value or ""]
    return "\\".join(map(str, values)).encode(errors="replace").rstrip(b"\0 ")


def _normalised(element: RawDataElement, value: bytes) -> bytes:
    if not element.is_little_endian:
        value = _swapped(value, _WORD_BYTES.get(element.VR or "", 1))
    if not element.tag.is_private and _known_vr(element.tag) in _BINARY:
        return value + b"\0" * (len(value) % 2)
    return value.rstrip(b"\0 ")


def _swapped(value: bytes, word: int) -> bytes:
    if word == 1 or len(value) % word:
        return value
    swapped = bytearray(len(value))
    for offset in range(word):
        swapped[offset::word] = value[word - 1 - offset :: word]
    return bytes(swapped)


@functools.lru_cache(maxsize=8192)
def _known_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:  # private, or newer than the dictionary
        return ""
