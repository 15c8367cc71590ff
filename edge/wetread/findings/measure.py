"""Measurements of one segment on the source grid."""

from __future__ import annotations

from wetread.bundles.manifest import LabelRule
from wetread.records.coded import CodedTerm
from wetread.records.finding import Measurement
from wetread.records.volume import Volume

VOLUME = CodedTerm("118565006", "SCT", "Volume")
MILLILITRE = CodedTerm("mL", "UCUM", "mL")


def measure(rule: LabelRule, voxel_count: int, volume: Volume) -> tuple[Measurement, ...]:
    """The measurements that ``rule`` asks for; volumes are voxel count × voxel volume, in mL."""
    return tuple(
        Measurement(name=VOLUME, value=voxel_count * volume.voxel_volume_ml, unit=MILLILITRE) for _ in rule.measurements
    )
