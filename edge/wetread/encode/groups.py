"""The measurement groups of a report: one for each finding (PS3.16 TID 1411, 1410, 1501)."""

from __future__ import annotations

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementProperties,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    ReferencedSegment,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import Dataset

from wetread.encode import codes
from wetread.encode.codes import concept
from wetread.encode.context import Draft
from wetread.records.finding import Condition, Detection, Finding, Segment
from wetread.records.finding import Measurement as MeasuredValue
from wetread.records.radiograph import Radiograph
from wetread.records.reading import AlgorithmIdentity
from wetread.records.spread import Spread


def measurement_groups(draft: Draft) -> list[Dataset]:
    """One group for each thing found or scored; if there is none, one for each that was looked for.

    Never both: template validators hold every group to TID 1411 or 1410 once one of them refers to a segment or a
    region. What was not found beside what was stands in the Qualitative Evaluations. There is always a group, because
    viewers of TID 1500 expect one.
    """
    findings = draft.context.reading.findings
    groups = [
        *(_segment(draft, segment, number) for number, segment in enumerate(draft.segments, start=1)),
        *(_detection(draft, f) for f in findings if isinstance(f, Detection)),
        *(_without_place(draft, f) for f in findings if isinstance(f, Condition)),
    ]
    return groups or [_without_place(draft, finding) for finding in draft.missing]


def _segment(draft: Draft, segment: Segment, number: int) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """TID 1411: a segment and its measurements."""
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(segment),
        referenced_segment=ReferencedSegment(
            sop_class_uid=draft.segmentation_class_uid,
            sop_instance_uid=draft.uids.instance("SEG"),
            segment_number=number,
            source_series=SourceSeriesForSegmentation(draft.headers[0].SeriesInstanceUID),
        ),
        finding_type=concept(segment.type),
        finding_sites=_sites(segment),
        measurements=_measurements(draft, segment),
    )


def _detection(draft: Draft, detection: Detection) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """TID 1410: the rectangle of a box on the slice through its middle."""
    source = draft.headers[detection.slice_index]
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(detection),
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=_rectangle(detection),
            source_image=SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID),
        ),
        finding_type=concept(detection.type),
        finding_sites=_sites(detection),
        measurements=_measurements(draft, detection),
    )


def _rectangle(detection: Detection) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Closed, ``(column, row)``; the centre of the first pixel is 0.5, 0.5 (PS3.3 C.18.6.1.2)."""
    (_, top, left), (_, bottom, right) = detection.low, detection.high
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return np.array(corners) + 0.5


def _without_place(draft: Draft, finding: Finding) -> MeasurementsAndQualitativeEvaluations:
    """TID 1501: a score, or what was looked for and is not there; tracking UID and algorithm stay on record.

    A score of a film names the film: a study may have several.
    """
    film = draft.headers[0] if isinstance(draft.context.image, Radiograph) else None
    return MeasurementsAndQualitativeEvaluations(
        source_images=[SourceImageForMeasurementGroup(film.SOPClassUID, film.SOPInstanceUID)] if film else None,
        tracking_identifier=_tracking(finding),
        finding_type=concept(finding.type),
        finding_sites=_sites(finding),
        measurements=_measurements(draft, finding),
        algorithm_id=None if finding.measurements else _algorithm(draft, finding),
    )


def not_read(draft: Draft) -> MeasurementsAndQualitativeEvaluations:
    """Stands for the groups that a report of what was not read has none of."""
    nobody = TrackingIdentifier(uid=draft.uids.instance("SR", "not read"), identifier="not read")
    return MeasurementsAndQualitativeEvaluations(tracking_identifier=nobody)


def _tracking(finding: Finding) -> TrackingIdentifier:
    return TrackingIdentifier(uid=finding.tracking_uid, identifier=finding.tracking_id)


def _sites(finding: Finding) -> list[FindingSite] | None:
    """An anatomical structure is its own site, which gives its side a place in the template.

    Where an abnormality lies is said if the bundle does; without that its side stands in the segment alone (Segmented
    Property Type Modifier).
    """
    if isinstance(finding, Segment) and finding.role == "anatomy":
        location = finding.type
    elif finding.site:
        location = finding.site
    else:
        return None
    laterality = concept(finding.laterality) if finding.laterality else None
    return [FindingSite(anatomic_location=concept(location), laterality=laterality)]


def _measurements(draft: Draft, finding: Finding) -> list[Measurement]:
    algorithm = _algorithm(draft, finding)
    return [_measurement(measured, algorithm, finding) for measured in finding.measurements]


def _measurement(measured: MeasuredValue, algorithm: AlgorithmIdentification, finding: Finding) -> Measurement:
    """TID 300. Numeric Value is what people read; Floating Point Value beside it keeps every digit (PS3.3 C.18.1)."""
    properties = None
    if isinstance(finding, Condition) and finding.spread:
        properties = _uncertainty(finding.score, finding.spread)
    measurement = Measurement(
        name=concept(measured.name),
        value=float(measured.value),
        unit=concept(measured.unit),
        algorithm_id=algorithm,
        properties=properties,
    )
    measurement[0].MeasuredValueSequence[0].NumericValue = f"{measured.value:.6g}"
    return measurement


def _uncertainty(score: float, spread: Spread) -> MeasurementProperties:
    """TID 310: how far above and below the score changed copies of the image lie, in the unit of the score."""
    above, below = max(0.0, spread.most - score), max(0.0, score - spread.least)
    properties = MeasurementProperties(
        upper_measurement_uncertainty=float(f"{100 * above:.6g}"),
        lower_measurement_uncertainty=float(f"{100 * below:.6g}"),
    )
    for item in properties:  # highdicom writes "no units" whatever the measurement's unit is
        item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence = [codes.PERCENT]
    return properties


def _algorithm(draft: Draft, finding: Finding) -> AlgorithmIdentification:
    """TID 4019: what it takes to compute the number again."""
    algorithm = draft.context.reading.algorithm
    return AlgorithmIdentification(
        name=algorithm.bundle_name,
        version=algorithm.bundle_version,
        parameters=[*_decision(finding), *_parameters(algorithm)],
    )


def _decision(finding: Finding) -> list[str]:
    """What a score was compared with, and what it means."""
    if isinstance(finding, Segment):
        return []
    threshold = "none" if finding.threshold is None else f"{finding.threshold:.6g}"
    if not isinstance(finding, Condition):
        return [f"score threshold: {threshold}"]
    meaning = "calibrated, a probability" if finding.calibrated else "not calibrated, not a probability"
    spread = finding.spread
    steady = [] if spread is None else [*spread.parameters, _moments(spread)]
    return [f"score threshold: {threshold}", f"score: {meaning}", *steady]


def _moments(spread: Spread) -> str:
    return f"uncertainty: mean {100 * spread.mean:.4g} %, standard deviation {100 * spread.standard_deviation:.4g} %"


def _names(shims: tuple[str, ...]) -> str:
    """Their names alone: this is repeated with every measurement; the sentences are in the job's report."""
    return ", ".join(dict.fromkeys(shim.partition(":")[0] for shim in shims))


def _parameters(algorithm: AlgorithmIdentity) -> list[str]:
    engine = algorithm.engine
    return [
        f"engine: {engine.name} {engine.library_version}, {engine.precision}, {engine.device}",
        f"engine certificate: {engine.certificate}",
        *([f"driven by: {engine.tier}"] if engine.tier else []),
        *([f"adapted for today's libraries: {_names(engine.shims)}"] if engine.shims else []),
        f"bundle SHA-256: {algorithm.bundle_digest}",
        f"weights SHA-256: {algorithm.weights_digest}",
    ]
