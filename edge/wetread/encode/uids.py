"""Which UID a result object gets: derived from what it says, so that the same read never makes two different objects.

UID = study + sources + patient and study attributes written + bundle + weights + findings digest + object kind +
rendition + encoder version. The Series UID leaves out the findings digest: a read that says something new is a new
instance in the old series.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

from pydicom import Dataset

from wetread import __version__
from wetread.records.job import JobSpec
from wetread.records.model_input import ModelInput
from wetread.records.reading import Reading
from wetread.records.refused import Refused
from wetread.records.result import Rendition

ENCODER_VERSION = "/".join((__version__, *(version(library) for library in ("highdicom", "pydicom", "pillow"))))
"""Whatever can change the bytes that are written for one and the same reading."""

_PATIENT_GROUPS = (0x0010, 0x0012, 0x0038)
"""Patient, clinical trial and visit: the objects copy what the patient and study modules have of these."""
_STUDY_KEYWORDS = (
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "RequestingService",
    "ProcedureCodeSequence",
    "ReferencedStudySequence",
    "AdmittingDiagnosesDescription",
    "ReasonForPerformedProcedureCodeSequence",
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
)


@dataclass(frozen=True, slots=True)
class ResultUids:
    """The UIDs of all objects of one read."""

    scope: str
    """SHA-256 (hex) of everything but the findings: study, sources, attributes, bundle, weights, rendition, encoder."""
    findings_digest: str

    def series(self, kind: str) -> str:
        """Series Instance UID of the objects of one kind."""
        return derived_uid("series", self.scope, kind)

    def instance(self, kind: str, part: str = "") -> str:
        """SOP Instance UID; ``part`` tells instances of one series apart, and other UIDs inside an instance."""
        return derived_uid("instance", self.scope, kind, self.findings_digest, part)


def result_uids(
    spec: JobSpec, image: ModelInput | Refused, reading: Reading, header: Dataset, *, rendition: Rendition
) -> ResultUids:
    """The UIDs for this read in one rendition; ``header``: the source instance whose patient and study are copied."""
    algorithm = reading.algorithm
    scope = (
        spec.study.study_instance_uid,
        *sorted(instance.sop_instance_uid for instance in image.instances),
        *_attributes(header),
        algorithm.bundle_name,
        algorithm.bundle_digest,
        algorithm.weights_digest,
        rendition.value,
        ENCODER_VERSION,
    )
    return ResultUids(_sha256(scope).hexdigest(), reading.digest)


def derived_uid(*parts: str) -> str:
    """A UID made of 128 bits of SHA-256 over ``parts``, in the form of a UUID-derived UID (PS3.5 B.2)."""
    return f"2.25.{int.from_bytes(_sha256(parts).digest()[:16], 'big')}"


def _attributes(header: Dataset) -> Iterable[str]:
    for element in header:
        if element.tag.group in _PATIENT_GROUPS or element.keyword in _STUDY_KEYWORDS:
            yield f"{element.tag} {element.VR} {element.value!r}"


def _sha256(parts: Iterable[str]) -> hashlib._Hash:
    """Each part with its length before it, so that moving a border between two parts changes the digest."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogateescape")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest
