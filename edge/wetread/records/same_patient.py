"""Do two descriptions speak of one patient? What one of them leaves empty does not differ.

Only names of attributes leave this file, never their values.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from wetread.records.study import Patient

_NAME_COMPONENTS = 3  # family, given, middle; prefix and suffix are written by some and not by others


def patient_differences(one: Patient, other: Patient) -> tuple[str, ...]:
    """Names of the attributes in which the two differ."""
    found = []
    for name, normal, of in _COMPARED:
        a, b = normal(of(one)), normal(of(other))
        if a and b and a != b:
            found.append(name)
    if not _same_name(one.name, other.name):
        found.append("patient name")
    return tuple(found)


def exact(value: str) -> str:
    """Identifiers: leading zeros and case count, blanks round them do not (PS3.5 6.2, VR LO and SH)."""
    return value.strip(" \0")


def _same_name(one: str, other: str) -> bool:
    """Component groups (alphabetic, ideographic, phonetic) and components that both sides have (PS3.5 6.2.1.1)."""
    for ours, theirs in zip(one.split("="), other.split("="), strict=False):
        for a, b in zip(_components(ours), _components(theirs), strict=False):
            if a and b and a != b:
                return False
    return True


def _components(group: str) -> list[str]:
    return [_text(component) for component in group.split("^")[:_NAME_COMPONENTS]]


def _text(value: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def _date(value: str) -> str:
    """``19700131`` of ``1970.01.31`` (ACR-NEMA) and ``1970-01-31``."""
    return re.sub(r"\D", "", value)[:8]


def _sex(value: str) -> str:
    """Enumerated (PS3.3 C.7.1.1): ``U`` and the like mean unknown."""
    sex = value.strip(" \0").upper()
    return sex if sex in ("M", "F", "O") else ""


_COMPARED: tuple[tuple[str, Callable[[str], str], Callable[[Patient], str]], ...] = (
    ("patient ID", exact, lambda p: p.patient_id),
    ("issuer of patient ID", exact, lambda p: p.issuer),
    ("birth date", _date, lambda p: p.birth_date),
    ("sex", _sex, lambda p: p.sex),
)
