"""The right patient: does the destination say the same about the study as the results we are about to send?

Only names of attributes leave this file, never their values. What one side leaves empty does not differ.
"""

from __future__ import annotations

from pathlib import Path

import pydicom

from wetread.deliver.destination import StudyIdentity
from wetread.dimse.describe import describe_patient
from wetread.records.same_patient import exact, patient_differences


def identity_of(path: Path) -> StudyIdentity:
    """What a result says about its study: read from the object itself, which is what will be sent."""
    keywords = ("SpecificCharacterSet", "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")
    tags = [*keywords, "PatientSex", "AccessionNumber"]
    ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags))
    return StudyIdentity(describe_patient(ds), str(ds.get("AccessionNumber") or ""))


def differences(ours: StudyIdentity, theirs: StudyIdentity) -> tuple[str, ...]:
    """Names of the attributes in which the two differ."""
    found = patient_differences(ours.patient, theirs.patient)
    a, b = exact(ours.accession_number), exact(theirs.accession_number)
    return (*found, "accession number") if a and b and a != b else found
