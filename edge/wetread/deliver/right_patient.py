"""The right patient: does the destination say the same about the study as the results we are about to send?

Only names of attributes leave this file, never their values. What one side leaves empty does not differ.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pydicom

from wetread.deliver.destination import StudyIdentity
from wetread.dimse.describe import describe_patient

_NAME_COMPONENTS = 3  # family, given, middle; prefix and suffix are written by some and not by others


def identity_of(path: Path) -> StudyIdentity:
    """What a result says about its study: read from the object itself, which is what will be sent."""
    keywords = ("SpecificCharacterSet", "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")
    tags = [*keywords, "PatientSex", "AccessionNumber"]
    ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags))
    return StudyIdentity(describe_patient(ds), str(ds.get("AccessionNumber") or ""))


def differences(ours: StudyIdentity, theirs: StudyIdentity) -> tuple[str, ...]:
    """Names of the attributes in which the two differ."""
    found = []
    for name, normal, of in _COMPARED:
        a, b = normal(of(ours)), normal(of(theirs))
        if a and b and a != b:
            found.append(name)
    if not _same_name(ours.patient.name, theirs.patient.name):
        found.append("patient name")
    return tuple(found)


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


def _exact(value: str) -> str:
    """Identifiers: leading zeros and case count, blanks round them do not (PS3.5 6.2, VR LO and SH)."""
    return value.strip(" \0")


def _date(value: str) -> str:
    """``19700131`` of ``1970.01.31`` (ACR-NEMA) and ``1970-01-31``."""
    return re.sub(r"\D", "", value)[:8]


_COMPARED: tuple[tuple[str, Callable[[str], str], Callable[[StudyIdentity], str]], ...] = (
    ("patient ID", _exact, lambda i: i.patient.patient_id),
    ("issuer of patient ID", _exact, lambda i: i.patient.issuer),
    ("birth date", _date, lambda i: i.patient.birth_date),
    ("sex", lambda v: v.strip().upper(), lambda i: i.patient.sex),
    ("accession number", _exact, lambda i: i.accession_number),
)
