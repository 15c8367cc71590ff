"""References to what was received: patient, study, series, instance. They point at files and hold no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Patient:
    """Who the study says it is about (PS3.3 C.7.1.1); empty strings where the study says nothing."""

    patient_id: str
    issuer: str = ""
    name: str = ""
    birth_date: str = ""
    """DICOM DA, ``YYYYMMDD``."""
    sex: str = ""


@dataclass(frozen=True, slots=True)
class InstanceRef:
    """One stored instance."""

    sop_instance_uid: str
    sop_class_uid: str
    path: Path
    """A Part 10 file."""
    digest: str
    """SHA-256 (hex) of the data set's content: the same for the same tags and values, whatever the encoding."""
    instance_number: int | None = None
    in_spool: bool = False
    """The file name is ours and means nothing to a person."""

    @property
    def label(self) -> str:
        """How a message names it: the user's own file or, in the spool, the UID; and the number a viewer shows."""
        number = "" if self.instance_number is None else f"instance {self.instance_number}"
        if self.in_spool:
            return f"{number or 'an instance'} (SOP Instance UID {self.sop_instance_uid})"
        return f"{self.path.name} ({number})" if number else self.path.name


@dataclass(frozen=True, slots=True)
class SeriesRef:
    """One series with the attributes that rules look at, taken from its first instance."""

    series_instance_uid: str
    modality: str
    instances: tuple[InstanceRef, ...]
    description: str = ""
    number: int | None = None
    protocol: str = ""
    body_part: str = ""
    laterality: str = ""
    manufacturer: str = ""
    image_type: tuple[str, ...] = ()
    contrast_agent: str = ""
    has_geometry: bool = False
    """Image Position, Image Orientation and Pixel Spacing are present in the first instance."""

    @property
    def sop_class_uids(self) -> frozenset[str]:
        """The SOP classes that occur in the series (normally one)."""
        return frozenset(i.sop_class_uid for i in self.instances)

    @property
    def label(self) -> str:
        """How a person would call it: number and description, never a UID alone."""
        number = "?" if self.number is None else str(self.number)
        return f"series {number} {self.description!r}" if self.description else f"series {number} (no description)"


@dataclass(frozen=True, slots=True)
class StudyRef:
    """One study at one moment; a revision is a study reference that will not change any more."""

    study_instance_uid: str
    patient: Patient
    series: tuple[SeriesRef, ...]
    accession_number: str = ""
    description: str = ""
    date: str = ""
    """DICOM DA, as received."""
    time: str = ""
    """DICOM TM, as received."""
    patient_age: str = ""
    """DICOM AS, e.g. ``042Y``."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the series, sorted, each once."""
        return tuple(sorted({s.modality for s in self.series if s.modality}))

    @property
    def instance_count(self) -> int:
        """Instances in all series."""
        return sum(len(s.instances) for s in self.series)
