"""Encoded results: files ready to send."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from wetread.records.coded import CodedTerm


class Rendition(StrEnum):
    """In which object classes a read is said. The objects of one rendition refer to each other only."""

    MODERN = "modern"
    """Label map segmentation (BINARY where structures overlap) and Comprehensive 3D SR."""
    COMMON = "common"
    """BINARY segmentation and Comprehensive SR: what older archives take, too."""


@dataclass(frozen=True, slots=True)
class EncodedResult:
    """One DICOM instance on disk. Its bytes never change after it was committed."""

    kind: str
    """``SEG``, ``SR``, ``SC`` or ``PM``."""
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    path: Path
    sha256: str
    rendition: Rendition = Rendition.COMMON


@dataclass(frozen=True, slots=True)
class ReportRef:
    """A report of ours that a destination holds."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class EngineUsed:
    """What computed a read, for tables and JSON."""

    name: str
    precision: str
    device: str
    library: str
    """With its version."""
    reason: str
    """Why this one, as a sentence for a person."""
    certificate: str
    """Digest of the certificate under which it served."""

    def __str__(self) -> str:
        return f"{self.name} {self.precision} ({self.reason})"


@dataclass(frozen=True, slots=True)
class MeasurementSummary:
    """One number of a finding."""

    name: str
    value: float
    unit: str
    """UCUM."""
    code: CodedTerm
    """Of what was measured."""

    def __str__(self) -> str:
        return f"{self.name} {self.value:.1f} {self.unit}"


@dataclass(frozen=True, slots=True)
class SpreadSummary:
    """How steady a score is: what slightly changed copies of the image score, 0 to 1."""

    times: int
    """How many copies."""
    mean: float
    standard_deviation: float
    least: float
    most: float
    reached: int | None
    """How many reach the threshold; None without one."""


@dataclass(frozen=True, slots=True)
class BoxSummary:
    """Where a detection lies."""

    slice_number: int
    """Place along the slice normal of the slice through its middle, from 1."""
    centre_mm: tuple[float, float, float]
    """LPS."""
    size_mm: tuple[float, float, float]
    """Along slice, row and column index."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a viewer goes to show a finding: a point of it, on the slice that shows most of it."""

    sop_instance_uid: str
    slice_number: int
    """Along the slice normal, from 1."""
    centre_mm: tuple[float, float, float]
    """LPS."""


@dataclass(frozen=True, slots=True)
class FindingSummary:
    """A finding without its mask: for tables, JSON and the timeline."""

    name: str
    role: str
    code: CodedTerm
    """Of the structure, condition or finding."""
    laterality: str
    tracking_uid: str
    measurements: tuple[MeasurementSummary, ...]
    evaluation: str = ""
    """``present``, ``absent`` or ``undetermined``."""
    box: BoxSummary | None = None
    """Of a detection."""
    place: Place | None = None
    """None: the finding is about the whole image, or was not found."""
    colour_rgb: tuple[int, int, int] | None = None
    label_value: int | None = None
    """Of a structure: its value in the label map."""
    score: float | None = None
    threshold: float | None = None
    wording: str = ""
    """Why it is called what it is called, as a sentence."""
    spread: SpreadSummary | None = None
    """Of a score, where the bundle asks how steady it is."""


@dataclass(frozen=True, slots=True)
class ReadInput:
    """The image that a read is about."""

    kind: str
    """``volume`` or ``radiograph``."""
    series_instance_uid: str
    shape: tuple[int, int, int]
    """``(slice, row, column)``."""
    affine: tuple[tuple[float, ...], ...] | None
    """4×4, indices of voxel centres to LPS mm; None for a film, which lies nowhere in the patient."""
    sop_instance_uids: tuple[str, ...]
    """One for each slice."""
    frame_of_reference_uid: str


@dataclass(frozen=True, slots=True)
class ResultFile:
    """What a read leaves for viewers beside its DICOM objects; committed with them."""

    kind: str
    """``labels``: the label map; ``heatmap``: what a finding rests on. Both uint8, C order, on the grid of the input,
    gzip."""
    path: Path
    sha256: str
    name: str = ""
    """Tracking UID of the finding; '' for the label map."""
