"""What a person put right about the patient or the order goes into results; the source references stay."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag

from wetread.records.study import Correction

_KEYWORDS = {
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "accession_number": "AccessionNumber",
}
_IDENTITY = frozenset({"patient_id", "issuer", "name"})
_ABOUT_THE_PERSON = (0x0010, 0x0012, 0x0038)
"""Patient, clinical trial subject, visit."""
_KEPT = frozenset(
    {
        "PatientID",
        "IssuerOfPatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "PatientIdentityRemoved",
        "DeidentificationMethod",
        "DeidentificationMethodCodeSequence",
    }
)
"""Of those, what was corrected itself or was measured on whoever was examined."""


def apply_correction(header: Dataset, correction: Correction) -> None:
    """Write the corrected attributes into the header of a source instance, before anything is copied from it.

    Where the identity is another one, all else that was known of the former person (other IDs and names, address,
    admission, trial) is left out. So are an age that belongs to another birth date and the issuer of another accession
    number.
    """
    if _IDENTITY.intersection(correction.corrected):
        _forget_person(header)
    for name in correction.corrected:
        setattr(header, _KEYWORDS[name], getattr(correction, name))
    if "birth_date" in correction.corrected:
        header.pop("PatientAge", None)
    if "accession_number" in correction.corrected:
        header.pop("IssuerOfAccessionNumberSequence", None)


def _forget_person(header: Dataset) -> None:
    for tag in [tag for tag in header.keys() if tag.group in _ABOUT_THE_PERSON]:  # noqa: SIM118  keys() converts nothing
        if keyword_for_tag(tag) not in _KEPT:
            del header[tag]
