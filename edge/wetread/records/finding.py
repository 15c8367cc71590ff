"""What a read says: coded findings and anatomical structures with their measurements."""

from __future__ import annotations

from dataclasses import dataclass

from wetread.records.coded import CodedTerm


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number with its meaning and UCUM unit."""

    name: CodedTerm
    value: float
    unit: CodedTerm


@dataclass(frozen=True, slots=True)
class Finding:
    """One segmented structure: the same tracking UID names it in every object that speaks of it."""

    label_value: int
    """Its value in the label map; the Segment Number is its place among the structures that were found."""
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
