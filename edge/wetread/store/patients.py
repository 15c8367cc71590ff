"""Whose instances a study holds: what their own headers say, for a person who has to decide.

Values are for that person's screen; no log and no event gets them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pydicom

from wetread.db import Row
from wetread.dimse.describe import describe_patient
from wetread.records.same_patient import patient_differences
from wetread.records.study import Patient

_ATTRIBUTES = [
    "SpecificCharacterSet",
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
]


@dataclass(frozen=True, slots=True)
class PatientSeen:
    """One patient that instances of a study name."""

    patient: Patient
    instances: int
    peers: tuple[str, ...]
    """Who sent them."""


def patients_in(instances: Iterable[Row], folder: Path) -> tuple[PatientSeen, ...]:
    """The different patients of these source instances of the spool ``folder``, the one of most instances first.

    What is only written differently, or left empty, is no other patient. Instances whose file retention removed say
    nothing.
    """
    groups: list[tuple[Patient, list[str]]] = []
    for row in instances:
        path = folder / row["path"]
        if row["removed_at"] is None and path.exists():
            _add(groups, _patient_in(path), row["peer"])
    seen = [PatientSeen(patient, len(peers), tuple(sorted(set(peers)))) for patient, peers in groups]
    return tuple(sorted(seen, key=lambda one: -one.instances))


def what_differs(seen: Iterable[PatientSeen]) -> tuple[str, ...]:
    """Names of the attributes in which any two of them differ."""
    patients = [one.patient for one in seen]
    return tuple(sorted({name for a in patients for b in patients for name in patient_differences(a, b)}))


def _add(groups: list[tuple[Patient, list[str]]], patient: Patient, peer: str) -> None:
    for known, peers in groups:
        if not patient_differences(known, patient):
            peers.append(peer)
            return
    groups.append((patient, [peer]))


def _patient_in(path: Path) -> Patient:
    return describe_patient(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_ATTRIBUTES)))
