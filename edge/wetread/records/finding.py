"""What a read says: structures that were segmented, conditions that were scored, boxes that were detected.

Whatever was looked for is a finding, also when it was not found: that is an answer and not silence. The same tracking
UID names a finding in every object that speaks of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from wetread.records.coded import CodedTerm
from wetread.records.spread import Spread

Index = tuple[float, float, float]
"""Continuous ``(slice, row, column)`` index; voxel centres have whole numbers."""


class Evaluation(StrEnum):
    """CID 240 Present-Absent, without what a machine cannot say."""

    PRESENT = "present"
    ABSENT = "absent"
    UNDETERMINED = "undetermined"
    """Neither: a structure that was not seen may lie outside the image, a score without threshold calls nothing."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number with its meaning and UCUM unit."""

    name: CodedTerm
    value: float
    unit: CodedTerm


@dataclass(frozen=True, slots=True)
class Segment:
    """One structure of a segmentation."""

    label_value: int
    """Its value in the label map, or its place in the stack of masks, from 1. The Segment Number is its place among
    the structures that were found."""
    name: str
    role: str
    """``anatomy`` (a normal structure, measured) or ``finding`` (something abnormal)."""
    category: CodedTerm
    """Segmented Property Category, CID 7150."""
    type: CodedTerm
    """Segmented Property Type."""
    laterality: CodedTerm | None
    colour_rgb: tuple[int, int, int]
    voxel_count: int
    measurements: tuple[Measurement, ...]
    tracking_id: str
    """Human readable Tracking Identifier (112039, DCM)."""
    tracking_uid: str
    """Tracking Unique Identifier (112040, DCM)."""
    site: CodedTerm | None = None
    """Where an abnormality lies, if the bundle says so."""

    @property
    def evaluation(self) -> Evaluation:
        """A normal structure without a voxel is not called absent: it may lie outside the image."""
        if self.voxel_count:
            return Evaluation.PRESENT
        return Evaluation.ABSENT if self.role == "finding" else Evaluation.UNDETERMINED


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition that a classifier scored."""

    name: str
    type: CodedTerm
    """Finding: the condition."""
    score: float
    """0 to 1, as the bundle's postprocessing gave it."""
    threshold: float | None
    """Present from here upwards; none: nothing is called."""
    calibrated: bool
    """The score is a probability."""
    measurements: tuple[Measurement, ...]
    tracking_id: str
    tracking_uid: str
    site: CodedTerm | None = None
    words: str = ""
    """How a person calls a calibrated score, e.g. ``likely``; '' of any other."""
    spread: Spread | None = None
    """How steady the score is; None: nobody looked."""
    role: ClassVar[str] = "finding"
    laterality: ClassVar[CodedTerm | None] = None

    @property
    def evaluation(self) -> Evaluation:
        """What the threshold makes of the score."""
        if self.threshold is None:
            return Evaluation.UNDETERMINED
        return Evaluation.PRESENT if self.score >= self.threshold else Evaluation.ABSENT


@dataclass(frozen=True, slots=True)
class Detection:
    """One box of a detector, cut to the image."""

    number: int
    """Its place among all detections, best score first, from 1; drawn beside the box."""
    name: str
    category: CodedTerm
    type: CodedTerm
    colour_rgb: tuple[int, int, int]
    low: Index
    """Corner with the smallest index. A box of one whole voxel reaches half an index to each side of its centre."""
    high: Index
    slice_index: int
    """The slice through its middle, on which it is drawn and reported."""
    is_cut: bool
    """The model's box reaches beyond the image: it is measured as far as the image goes."""
    score: float
    threshold: float
    """Boxes below it are no findings."""
    measurements: tuple[Measurement, ...]
    tracking_id: str
    tracking_uid: str
    site: CodedTerm | None = None
    role: ClassVar[str] = "finding"
    laterality: ClassVar[CodedTerm | None] = None
    evaluation: ClassVar[Evaluation] = Evaluation.PRESENT


@dataclass(frozen=True, slots=True)
class Undetected:
    """A class of a detector of which there is no box."""

    name: str
    type: CodedTerm
    threshold: float
    """No detection of the class has a score of at least this."""
    tracking_id: str
    tracking_uid: str
    site: CodedTerm | None = None
    role: ClassVar[str] = "finding"
    laterality: ClassVar[CodedTerm | None] = None
    evaluation: ClassVar[Evaluation] = Evaluation.ABSENT
    measurements: ClassVar[tuple[Measurement, ...]] = ()


Finding = Segment | Condition | Detection | Undetected
