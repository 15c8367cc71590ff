"""References to what was received: patient, study, series, instance. They point at files and hold no pixels."""

from __future__ import annotations

import dataclasses
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
class Correction:
    """What a person put right about a study; ``None`` leaves what the instances say, '' makes it empty."""

    serial: int
    """How often the attributes of this study were changed by a person, taking back included: each time the study is
    read again, because results that say something else about the patient are other objects."""
    patient_id: str | None = None
    issuer: str | None = None
    name: str | None = None
    """DICOM PN, ``Family^Given``."""
    birth_date: str | None = None
    """DICOM DA, ``YYYYMMDD``."""
    sex: str | None = None
    """``M``, ``F``, ``O`` or ''."""
    accession_number: str | None = None

    @property
    def corrected(self) -> tuple[str, ...]:
        """The names of what is put right; none after a correction was taken back."""
        return tuple(
            f.name for f in dataclasses.fields(self) if f.name != "serial" and getattr(self, f.name) is not None
        )


@dataclass(frozen=True, slots=True)
class Film:
    """What one projection radiograph (CR, DX) says of itself; the films of a series may be different views.

    Empty where it says nothing.
    """

    view_position: str = ""
    """View Position (0018,5101), e.g. ``PA``; else the one that View Code Sequence (0054,0220) stands for."""
    laterality: str = ""
    """Image Laterality (0020,0062), else Laterality: ``R``, ``L``, ``B`` or ``U``."""
    body_part: str = ""
    """Body Part Examined; else the one that Anatomic Region Sequence (0008,2218) stands for."""
    presentation_intent: str = ""
    """Presentation Intent Type (0008,0068): ``FOR PRESENTATION`` or ``FOR PROCESSING``."""
    image_type: tuple[str, ...] = ()


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
    film: Film | None = None
    """Of a projection radiograph."""

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
        """How a person would call it: number and description, never a UID alone; a NIfTI volume by its file name."""
        if not self.series_instance_uid and self.description:
            return self.description
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
    correction: Correction | None = None
    """What of the above a person put right; the instances still say what they said."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the series, sorted, each once."""
        return tuple(sorted({s.modality for s in self.series if s.modality}))

    @property
    def instance_count(self) -> int:
        """Instances in all series."""
        return sum(len(s.instances) for s in self.series)


def correct(study: StudyRef, correction: Correction) -> StudyRef:
    """The study with what a person put right.

    An age that came with another birth date is left out; whoever needs one computes it from the dates.
    """
    names = ("patient_id", "issuer", "name", "birth_date", "sex")
    changes = {n: getattr(correction, n) for n in names if n in correction.corrected}
    accession_number = correction.accession_number
    return dataclasses.replace(
        study,
        patient=dataclasses.replace(study.patient, **changes),
        accession_number=study.accession_number if accession_number is None else accession_number,
        patient_age="" if "birth_date" in changes else study.patient_age,
        correction=correction,
    )
