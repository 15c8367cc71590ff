"""A header that says what a person had put right before: an archive where the same was corrected sends the study on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydicom.datadict import tag_for_keyword

from wetread.dimse.dataset import read_dataset
from wetread.dimse.digest import header_digest
from wetread.records.same_patient import exact, patient_differences
from wetread.records.study import Correction, StudyRef, correct
from wetread.store.arrival import Arrival
from wetread.store.attributes import study_to_json

_KEYWORDS = {
    "patient_id": ("PatientID",),
    "issuer": ("IssuerOfPatientID",),
    "name": ("PatientName",),
    "birth_date": ("PatientBirthDate", "PatientAge"),
    "sex": ("PatientSex",),
    "accession_number": ("AccessionNumber",),
}
"""What each correction is about: results carry the corrected value and not these."""


def says_what_was_corrected(arrival: Arrival, stored: Path, study: StudyRef, correction: Correction) -> bool:
    """Whether a header brings nothing but what was corrected: results say it already, so nothing is read again."""
    if not correction.corrected:
        return False
    ours, theirs = correct(study, correction), correct(arrival.study, correction)
    if study_to_json(ours) != study_to_json(theirs) or patient_differences(ours.patient, arrival.study.patient):
        return False
    if exact(ours.accession_number) != exact(arrival.study.accession_number):
        return False
    without = [keyword for name in correction.corrected for keyword in _KEYWORDS[name]]
    return _digest(stored, without) == _digest(arrival.source, without)


def _digest(path: Path, without: Iterable[str]) -> str:
    ds = read_dataset(path)
    for keyword in without:
        ds.pop(tag_for_keyword(keyword), None)
    return header_digest(ds)
