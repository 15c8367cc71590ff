"""Findings without their masks: for tables, JSON and the timeline."""

from __future__ import annotations

import numpy as np

from wetread.findings.place import place_of
from wetread.records.finding import Condition, Detection, Finding, Undetected
from wetread.records.model_input import ModelInput
from wetread.records.output import Boxes
from wetread.records.radiograph import Radiograph
from wetread.records.reading import Reading
from wetread.records.result import BoxSummary, FindingSummary, MeasurementSummary, ReadInput, SpreadSummary
from wetread.records.volume import Affine
from wetread.records.wording import sentence


def summarize(reading: Reading, image: ModelInput | None = None) -> tuple[FindingSummary, ...]:
    """One record for each finding: structures and conditions in the bundle's order, detections best score first.

    With ``image``, the one that was read, each also says where a viewer finds it.
    """
    affine = reading.output.affine if isinstance(reading.output, Boxes) else None
    return tuple(_summary(finding, affine, reading, image) for finding in reading.findings)


def described(image: ModelInput) -> ReadInput:
    """The image a read is about, without its pixels; a film as it is stored."""
    uids = tuple(instance.sop_instance_uid for instance in image.instances)
    series = image.series.series_instance_uid
    if isinstance(image, Radiograph):
        return ReadInput("radiograph", series, (1, *image.stored_shape), None, uids, "")
    slices, rows, columns = image.array.shape
    affine = tuple(tuple(map(float, row)) for row in image.affine)
    return ReadInput("volume", series, (slices, rows, columns), affine, uids, image.frame_of_reference_uid)


def _summary(finding: Finding, affine: Affine | None, reading: Reading, image: ModelInput | None) -> FindingSummary:
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
        place=place_of(finding, reading.output, image) if image is not None else None,
        colour_rgb=getattr(finding, "colour_rgb", None),
        label_value=getattr(finding, "label_value", None),
        score=None if isinstance(finding, Undetected) else getattr(finding, "score", None),
        threshold=getattr(finding, "threshold", None),
        wording=sentence(finding),
        spread=_spread(finding) if isinstance(finding, Condition) else None,
    )


def _spread(condition: Condition) -> SpreadSummary | None:
    spread, threshold = condition.spread, condition.threshold
    if spread is None:
        return None
    return SpreadSummary(
        times=len(spread.values),
        mean=spread.mean,
        standard_deviation=spread.standard_deviation,
        least=spread.least,
        most=spread.most,
        reached=None if threshold is None else spread.reached(threshold),
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
