"""Measurements on the source grid, and the codes they are reported with."""

from __future__ import annotations

from wetread.bundles.manifest import LabelRule
from wetread.records.coded import CodedTerm
from wetread.records.finding import Index, Measurement
from wetread.records.volume import Volume

VOLUME = CodedTerm("118565006", "SCT", "Volume")
DIAMETER = CodedTerm("81827009", "SCT", "Diameter")
CERTAINTY = CodedTerm("111012", "DCM", "Certainty of Finding")
"""CID 6048; of the raw score, whatever it means: "probability" is said only by what is one."""
MILLILITRE = CodedTerm("mL", "UCUM", "mL")
MILLIMETRE = CodedTerm("mm", "UCUM", "mm")
PERCENT = CodedTerm("%", "UCUM", "Percent")


def measure(rule: LabelRule, voxel_count: int, volume: Volume) -> tuple[Measurement, ...]:
    """The measurements that ``rule`` asks for; volumes are voxel count × voxel volume, in mL."""
    return tuple(
        Measurement(name=VOLUME, value=voxel_count * volume.voxel_volume_ml, unit=MILLILITRE) for _ in rule.measurements
    )


def certainty(score: float) -> Measurement:
    """A score of 0 to 1 in per cent."""
    return Measurement(name=CERTAINTY, value=100.0 * score, unit=PERCENT)


def diameter(low: Index, high: Index, volume: Volume) -> Measurement:
    """The longer side of a box in the plane of the slices."""
    _, row_mm, column_mm = volume.spacing_mm
    longer = max((high[1] - low[1]) * row_mm, (high[2] - low[2]) * column_mm)
    return Measurement(name=DIAMETER, value=longer, unit=MILLIMETRE)
