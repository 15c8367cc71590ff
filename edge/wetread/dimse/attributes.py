"""Attribute values out of a data set, without ever failing on a value that a peer encoded wrongly.

pydicom converts a value when it is first looked at and raises whatever its parser meets (``ValueError``,
``OverflowError``, ``NotImplementedError``, ...). This is the seam where that becomes "absent". Text goes through
pydicom's decoding by Specific Character Set, which replaces what it cannot decode and takes the default repertoire for
a set it does not know.
"""

from __future__ import annotations

import math

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

_PADDING = " \0"


def text(ds: Dataset, keyword: str) -> str:
    """The attribute as text, values joined by a backslash; empty when it is absent or cannot be decoded."""
    return "\\".join(texts(ds, keyword))


def texts(ds: Dataset, keyword: str) -> tuple[str, ...]:
    """Every value of the attribute as text without padding; empty when it is absent or cannot be decoded."""
    return tuple(str(value).strip(_PADDING) for value in _values(ds, keyword))


def integer(ds: Dataset, keyword: str) -> int | None:
    """The attribute's one whole number, or ``None`` when it is absent, not one value or not a whole number."""
    numbers = decimals(ds, keyword)
    return int(numbers[0]) if len(numbers) == 1 and numbers[0].is_integer() else None


def decimals(ds: Dataset, keyword: str) -> tuple[float, ...]:
    """Every value as a number; empty when the attribute is absent or one value is not a finite number."""
    try:
        numbers = tuple(float(str(value)) for value in _values(ds, keyword))
    except (TypeError, ValueError, OverflowError):
        return ()
    return numbers if all(math.isfinite(number) for number in numbers) else ()


def is_present(ds: Dataset, keyword: str) -> bool:
    """Whether the attribute is there with a value, readable or not."""
    return keyword in ds and not _is_empty(ds, keyword)


def _is_empty(ds: Dataset, keyword: str) -> bool:
    try:
        return bool(ds[keyword].is_empty)
    except Exception:  # a value that cannot be converted is there
        return False


def _values(ds: Dataset, keyword: str) -> tuple[object, ...]:
    try:
        value = ds.get(keyword)
    except Exception:  # pydicom's converters raise many types; a value nobody can read is no value
        return ()
    if value is None or value == "":
        return ()
    return tuple(value) if isinstance(value, MultiValue | list | tuple) else (value,)
