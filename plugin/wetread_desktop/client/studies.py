"""What the edge says about studies and the bundles that fit them."""

from __future__ import annotations

from dataclasses import dataclass

from wetread.records.study import Patient
from wetread_desktop.client.fields import Fields


@dataclass(frozen=True, slots=True)
class StudyLine:
    """A study in a list."""

    study_instance_uid: str
    patient_id: str
    accession_number: str
    description: str
    date: str
    """DICOM DA."""
    state: str
    """``receiving``, ``held``, ``waiting``, ``reading``, ``read``, … as in ``wetread studies list``."""
    reason: str
    received_at: str
    """ISO 8601, UTC."""

    @classmethod
    def read(cls, fields: Fields) -> StudyLine:
        """Raises: ``AnswerInvalid``."""
        return cls(
            study_instance_uid=fields.text("study_instance_uid"),
            patient_id=fields.text("patient_id", ""),
            accession_number=fields.text("accession_number", ""),
            description=fields.text("description", ""),
            date=fields.text("date", ""),
            state=fields.text("state"),
            reason=fields.text("reason", ""),
            received_at=fields.text("received_at", ""),
        )


@dataclass(frozen=True, slots=True)
class Study:
    """One study."""

    line: StudyLine
    patient: Patient

    @classmethod
    def read(cls, fields: Fields) -> Study:
        """Raises: ``AnswerInvalid``."""
        return cls(StudyLine.read(fields), read_patient(fields.inside("patient")))


def read_patient(fields: Fields) -> Patient:
    """Raises: ``AnswerInvalid``."""
    return Patient(
        patient_id=fields.text("patient_id", ""),
        issuer=fields.text("issuer", ""),
        name=fields.text("name", ""),
        birth_date=fields.text("birth_date", ""),
        sex=fields.text("sex", ""),
    )


@dataclass(frozen=True, slots=True)
class BundleAbout:
    """A bundle, and what it was made for."""

    name: str
    version: str
    title: str
    intended_use: str
    not_for: tuple[str, ...]
    """What it was not made for: a sentence each."""
    clinical_use: bool

    @classmethod
    def read(cls, fields: Fields, *, name: str = "name") -> BundleAbout:
        """``name``: the key that holds its name. Raises: ``AnswerInvalid``."""
        return cls(
            name=fields.text(name),
            version=fields.text("version", ""),
            title=fields.text("title", "") or fields.text(name),
            intended_use=fields.text("intended_use", ""),
            not_for=sentences(fields, "not_for"),
            clinical_use=fields.flag("clinical_use", False),
        )

    @property
    def label(self) -> str:
        """Title and version."""
        return f"{self.title} {self.version}".strip()


@dataclass(frozen=True, slots=True)
class SeriesChoice:
    """Which series would feed which input of a bundle, and why."""

    input_name: str
    series_instance_uid: str
    reason: str

    @classmethod
    def read(cls, fields: Fields) -> SeriesChoice:
        """Raises: ``AnswerInvalid``."""
        return cls(fields.text("input_name"), fields.text("series_instance_uid"), fields.text("reason", ""))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A bundle beside one study: whether it fits, and why or why not."""

    about: BundleAbout
    fits: bool
    reason: str
    chosen: tuple[SeriesChoice, ...]
    outside: tuple[str, ...]
    """Why the bundle was not made for this study, where it could read it all the same."""
    passed_over: tuple[str, ...]
    """Why the other series were not taken: a sentence each."""
    predicted_s: float | None
    latest_job: str
    """Id of the latest read of this study by this bundle; empty: none yet."""

    @classmethod
    def read(cls, fields: Fields) -> Suggestion:
        """Raises: ``AnswerInvalid``."""
        return cls(
            about=BundleAbout.read(fields, name="bundle"),
            fits=fields.flag("fits"),
            reason=fields.text("reason", ""),
            chosen=fields.objects("chosen", SeriesChoice.read) if fields.has("chosen") else (),
            outside=sentences(fields, "outside"),
            passed_over=sentences(fields, "passed_over"),
            predicted_s=fields.inside("predicted").number_or_none("seconds") if fields.has("predicted") else None,
            latest_job=fields.text("latest_job", ""),
        )

    @property
    def bundle(self) -> str:
        """Its name."""
        return self.about.name


def sentences(fields: Fields, key: str) -> tuple[str, ...]:
    """One sentence, several, or none."""
    value = fields.raw(key)
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) else fields.texts(key)
