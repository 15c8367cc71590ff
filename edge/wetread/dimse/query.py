"""C-FIND service class user: what a PACS knows of a study (Study Root, PS3.4 C.4.1 and C.6.2).

Every answer is compared with the question: a peer that does not match on a key returns everything it has.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset
from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from wetread.dimse.attributes import integer, text
from wetread.dimse.describe import describe_patient
from wetread.dimse.scu import Remote, association
from wetread.errors import DestinationUnavailable
from wetread.records.study import Patient

FIND = str(StudyRootQueryRetrieveInformationModelFind)

_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_PENDING = (0xFF00, 0xFF01)  # PS3.4 Table C.4-1
_SUCCESS = 0x0000

_STUDY_KEYS = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyDate",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)


@dataclass(frozen=True, slots=True)
class StudyFound:
    """One study as the peer knows it; empty text and ``None`` where it does not say."""

    study_instance_uid: str
    patient: Patient
    accession_number: str
    date: str
    """DICOM DA."""
    series: int | None
    """Number of Study Related Series (0020,1206)."""
    instances: int | None
    """Number of Study Related Instances (0020,1208): results and other derived objects count too."""


@dataclass(frozen=True, slots=True)
class SeriesFound:
    """One series as the peer knows it."""

    series_instance_uid: str
    modality: str
    instances: int | None
    """Number of Series Related Instances (0020,1209)."""


@dataclass(frozen=True, slots=True)
class StudyCount:
    """How many instances of one study the peer has, all kinds together and by series."""

    instances: int | None
    series: tuple[SeriesFound, ...]


def find_studies(remote: Remote, study_instance_uid: str) -> tuple[StudyFound, ...]:
    """The studies with this UID: none if the peer does not have it, several if it has it for several patients.

    Raises: ``DestinationUnavailable`` when the peer cannot be asked, fails, or does not finish in ``timeout_s``.
    """
    answers = _find(remote, _question("STUDY", _STUDY_KEYS, StudyInstanceUID=study_instance_uid))
    return tuple(_study(ds) for ds in answers if text(ds, "StudyInstanceUID") == study_instance_uid)


def find_studies_of(remote: Remote, patient: Patient) -> tuple[StudyFound, ...]:
    """The studies of one patient by Patient ID and issuer, oldest first. Raises: as ``find_studies``."""
    question = _question("STUDY", ("StudyInstanceUID", *_STUDY_KEYS), PatientID=patient.patient_id)
    question.IssuerOfPatientID = patient.issuer
    found = [_study(ds) for ds in _find(remote, question) if text(ds, "PatientID") == patient.patient_id]
    return tuple(sorted((s for s in found if s.study_instance_uid), key=lambda study: study.date))


def find_series(remote: Remote, study_instance_uid: str) -> tuple[SeriesFound, ...]:
    """The series of one study, by UID. Raises: as ``find_studies``."""
    keys = ("SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
    answers = _find(remote, _question("SERIES", keys, StudyInstanceUID=study_instance_uid))
    found = [_series(ds) for ds in answers if text(ds, "StudyInstanceUID") in ("", study_instance_uid)]
    return tuple(sorted(found, key=lambda series: series.series_instance_uid))


def find_instances(remote: Remote, study_instance_uid: str, series_instance_uid: str) -> frozenset[str]:
    """SOP Instance UIDs of one series. Raises: as ``find_studies``."""
    unique = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series_instance_uid}
    answers = _find(remote, _question("IMAGE", ("SOPInstanceUID",), **unique))
    return frozenset(
        text(ds, "SOPInstanceUID")
        for ds in answers
        if text(ds, "SOPInstanceUID") and text(ds, "SeriesInstanceUID") in ("", series_instance_uid)
    )


def count_study(remote: Remote, study_instance_uid: str) -> StudyCount | None:
    """How many instances the peer has of a study; ``None`` if it does not have it. Raises: as ``find_studies``."""
    studies = find_studies(remote, study_instance_uid)
    if not studies:
        return None
    known = [study.instances for study in studies if study.instances is not None]
    total = sum(known) if len(known) == len(studies) else None
    return StudyCount(total, find_series(remote, study_instance_uid))


def _study(ds: Dataset) -> StudyFound:
    return StudyFound(
        study_instance_uid=text(ds, "StudyInstanceUID"),
        patient=describe_patient(ds),
        accession_number=text(ds, "AccessionNumber"),
        date=text(ds, "StudyDate"),
        series=integer(ds, "NumberOfStudyRelatedSeries"),
        instances=integer(ds, "NumberOfStudyRelatedInstances"),
    )


def _series(ds: Dataset) -> SeriesFound:
    return SeriesFound(
        series_instance_uid=text(ds, "SeriesInstanceUID"),
        modality=text(ds, "Modality"),
        instances=integer(ds, "NumberOfSeriesRelatedInstances"),
    )


def _question(level: str, keys: tuple[str, ...], **unique: str) -> Dataset:
    """An Identifier: the unique keys of the levels above, and what we want to know, empty (PS3.4 C.4.1.1.3)."""
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword in keys:
        setattr(ds, keyword, "" if not keyword.startswith("NumberOf") else None)
    for keyword, value in unique.items():
        setattr(ds, keyword, value)
    return ds


def _find(remote: Remote, question: Dataset) -> list[Dataset]:
    # pynetdicom would print every answer, patient names included.
    _config.LOG_RESPONSE_IDENTIFIERS = False
    with association(remote, {(FIND, _IMPLICIT_VR_LITTLE_ENDIAN)}) as assoc:
        try:
            return list(_answers(remote, assoc, question))
        except DestinationUnavailable:
            if assoc.is_established:
                assoc.abort()  # more answers may be under way; a release would wait behind them
            raise


def _answers(remote: Remote, assoc: Association, question: Dataset) -> Iterator[Dataset]:
    """The pending answers until the last word, which must be success."""
    deadline = time.monotonic() + remote.timeout_s
    for status, identifier in assoc.send_c_find(question, FIND):
        code = getattr(status, "Status", None)
        if code == _SUCCESS:
            return
        if code is None:
            break
        if code not in _PENDING:
            comment = str(getattr(status, "ErrorComment", "") or "")
            raise DestinationUnavailable(
                f"{remote.label} answered the query with status 0x{code:04X} {comment}".rstrip()
            )
        if identifier is None:
            raise DestinationUnavailable(f"{remote.label} answered the query with something that is no data set")
        yield identifier
        if time.monotonic() > deadline:
            raise DestinationUnavailable(f"{remote.label} was still answering a query after {remote.timeout_s:g} s")
    raise DestinationUnavailable(f"{remote.label} gave no answer to a query within {remote.timeout_s:g} s")
