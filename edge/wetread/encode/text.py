"""Text in result objects: short enough for its field, in a character set that can hold all of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, default_encoding, encode_string
from pydicom.multival import MultiValue
from pydicom.valuerep import TEXT_VR_DELIMS, PersonName

_TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Value representations that Specific Character Set governs (PS3.5 6.1.2.2)."""
_UTF_8 = "ISO_IR 192"


def text_line(text: str, limit: int) -> str:
    r"""``text`` as one value of at most ``limit`` bytes in UTF-8, cut with ``...``.

    ``\`` would separate values (PS3.5 6.4). The Standard counts characters (PS3.5 6.2); validators and the columns of
    archives count bytes.
    """
    line = " ".join(text.replace("\\", "/").split())
    if len(line.encode()) <= limit:
        return line
    return line.encode()[: limit - 3].decode("utf-8", "ignore").rstrip() + "..."


def choose_character_set(dataset: Dataset, source: Dataset) -> None:
    """Keep the source's Specific Character Set if it can express all text of ``dataset``, else take UTF-8.

    Text in ``dataset`` must be decoded already; call this after the last text was written.
    """
    declared = source.get("SpecificCharacterSet")
    if declared and _expresses(declared, dataset):
        dataset.SpecificCharacterSet = declared
    elif all(text.isascii() for text in _texts(dataset)):
        dataset.pop("SpecificCharacterSet", None)
    else:
        dataset.SpecificCharacterSet = _UTF_8


def _expresses(declared: str | MultiValue[str], dataset: Dataset) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an unknown term or a lost character is a warning in pydicom
        try:
            # pydicom takes the default repertoire for Latin-1; it is ASCII (PS3.5 6.1.1).
            encodings = ["ascii" if name == default_encoding else name for name in convert_encodings(declared)]
            return all(
                decode_bytes(encode_string(text, encodings), encodings, TEXT_VR_DELIMS) == text
                for text in _texts(dataset)
            )
        except (LookupError, UnicodeError, UserWarning):
            return False


def _texts(dataset: Dataset) -> Iterator[str]:
    for element in dataset.iterall():
        if element.VR in _TEXT_VRS and element.value:
            values = element.value if isinstance(element.value, MultiValue | list) else [element.value]
            yield from (part for value in values for part in _parts(value))


def _parts(value: object) -> Iterator[str]:
    """A person name is encoded group by group and component by component: escapes end at each delimiter."""
    if isinstance(value, PersonName):
        for group in value.components:
            yield from group.split("^")
    else:
        yield str(value)
