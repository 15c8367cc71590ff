"""What a read found, as the edge tells it."""

from __future__ import annotations

from dataclasses import dataclass

from wetread.records.finding import Evaluation
from wetread.records.study import Patient
from wetread_desktop.client.errors import AnswerInvalid
from wetread_desktop.client.fields import Fields, number_list
from wetread_desktop.client.grid import Affine, Point, Shape
from wetread_desktop.client.jobs import Job
from wetread_desktop.client.studies import BundleAbout, read_patient, sentences


@dataclass(frozen=True, slots=True)
class Measured:
    """One number with its meaning and UCUM unit."""

    name: str
    value: float
    unit: str

    @classmethod
    def read(cls, fields: Fields) -> Measured:
        """Raises: ``AnswerInvalid``."""
        return cls(fields.text("name"), fields.number("value"), fields.text("unit"))


@dataclass(frozen=True, slots=True)
class FoundPlace:
    """The slice on which a finding is best seen."""

    sop_instance_uid: str
    slice_number: int
    """From 1, along the slice normal."""
    centre_mm: Point | None

    @classmethod
    def read(cls, fields: Fields) -> FoundPlace:
        """Raises: ``AnswerInvalid``."""
        centre = _point(fields, "centre_mm") if fields.has("centre_mm") else None
        return cls(fields.text("sop_instance_uid", ""), fields.integer("slice_number", 1), centre)


@dataclass(frozen=True, slots=True)
class FoundBox:
    """A box round a finding."""

    slice_number: int
    centre_mm: Point
    size_mm: tuple[float, float, float]
    """Along slice, row and column index."""

    @classmethod
    def read(cls, fields: Fields) -> FoundBox:
        """Raises: ``AnswerInvalid``."""
        return cls(fields.integer("slice_number"), _point(fields, "centre_mm"), _point(fields, "size_mm"))


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was looked for, also when it was not found."""

    tracking_uid: str
    name: str
    role: str
    """``finding`` (something abnormal) or ``anatomy`` (a normal structure, measured)."""
    laterality: str
    evaluation: Evaluation
    measurements: tuple[Measured, ...]
    colour_rgb: tuple[int, int, int]
    label_value: int | None
    score: float | None
    threshold: float | None
    wording: str
    """How the bundle wants its score said."""
    place: FoundPlace | None
    box: FoundBox | None
    heatmap: bool

    @classmethod
    def read(cls, fields: Fields) -> Found:
        """Raises: ``AnswerInvalid``."""
        return cls(
            tracking_uid=fields.text("tracking_uid"),
            name=fields.text("name"),
            role=fields.text("role", "finding"),
            laterality=fields.text("laterality", ""),
            evaluation=fields.choice("evaluation", Evaluation),
            measurements=fields.objects("measurements", Measured.read),
            colour_rgb=_colour(fields),
            label_value=fields.integer_or_none("label_value"),
            score=fields.number_or_none("score"),
            threshold=fields.number_or_none("threshold"),
            wording=fields.text("wording", ""),
            place=FoundPlace.read(fields.inside("place")) if fields.has("place") else None,
            box=FoundBox.read(fields.inside("box")) if fields.has("box") else None,
            heatmap=fields.flag("heatmap", False),
        )


@dataclass(frozen=True, slots=True)
class InputGrid:
    """The images that were read."""

    kind: str
    """``volume`` or ``radiograph``."""
    series_instance_uid: str
    shape: Shape
    affine: Affine
    """Empty of a radiograph, which lies nowhere."""
    sop_instance_uids: tuple[str, ...]
    frame_of_reference_uid: str

    @classmethod
    def read(cls, fields: Fields) -> InputGrid:
        """Raises: ``AnswerInvalid``."""
        kind = fields.text("kind", "volume")
        lies_nowhere = kind == "radiograph" and not fields.raw("affine")
        return cls(
            kind=kind,
            series_instance_uid=fields.text("series_instance_uid"),
            shape=_shape(fields),
            affine=() if lies_nowhere else _affine(fields),
            sop_instance_uids=fields.texts("sop_instance_uids"),
            frame_of_reference_uid=fields.text("frame_of_reference_uid", ""),
        )


@dataclass(frozen=True, slots=True)
class LabelGrid:
    """Shape and place of the label map."""

    shape: Shape
    affine: Affine

    @classmethod
    def read(cls, fields: Fields) -> LabelGrid:
        """Raises: ``AnswerInvalid``."""
        if (dtype := fields.text("dtype", "uint8")) != "uint8":
            raise AnswerInvalid(f"{fields.where}: a label map of {dtype}; this program reads uint8")
        return cls(_shape(fields), _affine(fields))


@dataclass(frozen=True, slots=True)
class Result:
    """A finished read: who, what was read, what was found."""

    job: Job
    is_signed: bool
    superseded_by: str
    """Id of the job that read the study again; empty: this is the latest."""
    patient: Patient
    accession_number: str
    study_instance_uid: str
    input: InputGrid
    findings: tuple[Found, ...]
    labels: LabelGrid | None
    notes: tuple[str, ...]
    bundle: BundleAbout
    outside: bool
    """Read although the bundle was not made for this, because somebody asked for it."""

    @classmethod
    def read(cls, fields: Fields) -> Result:
        """Raises: ``AnswerInvalid``."""
        result = cls(
            job=Job.read(fields.inside("job")),
            is_signed=fields.text("status") == "signed",
            superseded_by=fields.text("superseded_by", ""),
            patient=read_patient(fields.inside("patient")),
            accession_number=fields.text("accession_number", ""),
            study_instance_uid=fields.text("study_instance_uid"),
            input=InputGrid.read(fields.inside("input")),
            findings=fields.objects("findings", Found.read),
            labels=LabelGrid.read(fields.inside("labels")) if fields.has("labels") else None,
            notes=sentences(fields, "notes"),
            bundle=BundleAbout.read(fields.inside("bundle")),
            outside=fields.flag("outside_intended_use", False),
        )
        _check(result)
        return result

    def finding(self, tracking_uid: str) -> Found:
        """One of the findings. Raises: ``KeyError``."""
        for finding in self.findings:
            if finding.tracking_uid == tracking_uid:
                return finding
        raise KeyError(tracking_uid)


def _check(result: Result) -> None:
    if len({f.tracking_uid for f in result.findings}) != len(result.findings):
        raise AnswerInvalid("result: two findings have the same tracking UID")
    if result.job.study_instance_uid != result.study_instance_uid:
        raise AnswerInvalid("result: the job is of another study than the result")


def _point(fields: Fields, key: str) -> Point:
    x, y, z = fields.numbers(key, 3)
    return x, y, z


def _shape(fields: Fields) -> Shape:
    slices, rows, columns = (int(n) for n in fields.numbers("shape", 3))
    if min(slices, rows, columns) < 1:
        raise AnswerInvalid(f"{fields.where}: a shape without voxels")
    return slices, rows, columns


def _affine(fields: Fields) -> Affine:
    rows = fields.raw("affine")
    if not isinstance(rows, list) or len(rows) != 4:
        raise AnswerInvalid(f"{fields.where}: the affine has not 4 rows")
    return tuple(number_list(row, 4, f"{fields.where}, affine") for row in rows)


def _colour(fields: Fields) -> tuple[int, int, int]:
    if not fields.has("colour_rgb"):
        return 128, 128, 128
    red, green, blue = (min(max(int(n), 0), 255) for n in fields.numbers("colour_rgb", 3))
    return red, green, blue
