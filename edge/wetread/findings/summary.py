"""Findings without their masks: for tables, JSON and the timeline."""

from __future__ import annotations

import numpy as np

from wetread.records.finding import Detection, Finding
from wetread.records.output import Boxes
from wetread.records.reading import Reading
from wetread.records.result import BoxSummary, FindingSummary, MeasurementSummary
from wetread.records.volume import Affine


def summarize(reading: Reading) -> tuple[FindingSummary, ...]:
    """One record for each finding: structures and conditions in the bundle's order, detections best score first."""
    affine = reading.output.affine if isinstance(reading.output, Boxes) else None
    return tuple(_summary(finding, affine) for finding in reading.findings)


def _summary(finding: Finding, affine: Affine | None) -> FindingSummary:
    return FindingSummary(
        name=finding.name,
        role=finding.role,
        code=finding.type,
        laterality=finding.laterality.meaning if finding.laterality else "",
        tracking_uid=finding.tracking_uid,
        measurements=tuple(
            MeasurementSummary(m.name.meaning, m.value, m.unit.value, m.name) for m in finding.measurements
        ),
        evaluation=finding.evaluation.value,
        box=_box(finding, affine) if affine is not None and isinstance(finding, Detection) else None,
    )


def _box(detection: Detection, affine: Affine) -> BoxSummary:
    low, high = np.array(detection.low), np.array(detection.high)
    centre = affine[:3, :3] @ ((low + high) / 2) + affine[:3, 3]
    size = (high - low) * np.linalg.norm(affine[:3, :3], axis=0)
    return BoxSummary(
        slice_number=detection.slice_index + 1,
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        size_mm=(float(size[0]), float(size[1]), float(size[2])),
    )
