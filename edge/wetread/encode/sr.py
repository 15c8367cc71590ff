"""Structured report: Comprehensive 3D SR, TID 1500 with one group for each structure that was looked for (PS3.16)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from wetread.encode.codes import concept
from wetread.encode.context import Draft
from wetread.encode.evaluations import qualitative_evaluations
from wetread.encode.provenance import MANUFACTURER, device_uid, finish, series_number, software_versions
from wetread.encode.text import text_line
from wetread.records.finding import Finding
from wetread.records.finding import Measurement as MeasuredValue
from wetread.records.reading import AlgorithmIdentity

KIND = "SR"


def encode_report(draft: Draft) -> Iterator[Dataset]:
    """One report: PRELIMINARY, COMPLETE, UNVERIFIED. It is written also when nothing was found."""
    algorithm = draft.context.reading.algorithm
    report = Comprehensive3DSR(
        evidence=_evidence(draft),
        content=_content(draft),
        series_instance_uid=draft.uids.series(KIND),
        series_number=series_number(draft, KIND),
        sop_instance_uid=draft.uids.instance(KIND),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=text_line(algorithm.bundle_name, 64),
        software_versions=software_versions(algorithm),
        device_serial_number=algorithm.weights_digest,
        is_complete=True,
        is_final=False,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
    )
    _sort_evidence(report)
    yield finish(report, draft, KIND)


def _content(draft: Draft) -> Dataset:
    report = MeasurementReport(
        observation_context=_observer(draft.context.reading.algorithm),
        procedure_reported=concept(draft.context.manifest.procedure.term()),
        imaging_measurements=_groups(draft),
    )
    root: Dataset = report[0]
    root.ContentSequence.append(qualitative_evaluations(draft))
    _separate(root)
    return root


def _groups(draft: Draft) -> list[Dataset]:
    """One group for each structure found; if there is none, one for each that was looked for.

    Never both: template validators hold every group to TID 1411 once one of them refers to a segment. Structures that
    were not found beside others that were are said in the Qualitative Evaluations. There is always a group, because
    viewers of TID 1500 expect one.
    """
    if draft.found:
        return [_found_group(draft, finding, number) for number, finding in enumerate(draft.found, start=1)]
    return [_not_found_group(draft, finding) for finding in draft.not_found]


def _observer(algorithm: AlgorithmIdentity) -> ObservationContext:
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=device_uid(algorithm),
                name=algorithm.title,
                manufacturer_name=MANUFACTURER,
                model_name=algorithm.bundle_name,
            ),
        )
    )


def _found_group(
    draft: Draft, finding: Finding, segment_number: int
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """TID 1411: a segment and its measurements."""
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=finding.tracking_uid, identifier=finding.tracking_id),
        referenced_segment=ReferencedSegment(
            sop_class_uid=SegmentationStorage,
            sop_instance_uid=draft.uids.instance("SEG"),
            segment_number=segment_number,
            source_series=SourceSeriesForSegmentation(draft.headers[0].SeriesInstanceUID),
        ),
        finding_type=concept(finding.type),
        finding_sites=_sites(finding),
        measurements=_measurements(draft, finding),
    )


def _not_found_group(draft: Draft, finding: Finding) -> MeasurementsAndQualitativeEvaluations:
    """TID 1501: looked for, nothing there; the volume of 0 mL keeps the tracking UID and the algorithm on record."""
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=finding.tracking_uid, identifier=finding.tracking_id),
        finding_type=concept(finding.type),
        finding_sites=_sites(finding),
        measurements=_measurements(draft, finding),
    )


def _sites(finding: Finding) -> list[FindingSite] | None:
    """An anatomical structure is its own site, which gives its side a place in the template.

    Where an abnormality lies the bundle does not say; its side stands in the segment (Segmented Property Type
    Modifier).
    """
    if finding.role != "anatomy":
        return None
    return [
        FindingSite(
            anatomic_location=concept(finding.type),
            laterality=concept(finding.laterality) if finding.laterality else None,
        )
    ]


def _measurements(draft: Draft, finding: Finding) -> list[Measurement]:
    return [_measurement(measured, draft.context.reading.algorithm) for measured in finding.measurements]


def _measurement(measured: MeasuredValue, algorithm: AlgorithmIdentity) -> Measurement:
    """TID 300. Numeric Value is what people read; Floating Point Value beside it keeps every digit (PS3.3 C.18.1)."""
    measurement = Measurement(
        name=concept(measured.name),
        value=float(measured.value),
        unit=concept(measured.unit),
        algorithm_id=AlgorithmIdentification(
            name=algorithm.bundle_name, version=algorithm.bundle_version, parameters=_parameters(algorithm)
        ),
    )
    measurement[0].MeasuredValueSequence[0].NumericValue = f"{measured.value:.6g}"
    return measurement


def _parameters(algorithm: AlgorithmIdentity) -> list[str]:
    """What it takes to compute the number again."""
    engine = algorithm.engine
    return [
        f"engine: {engine.name} {engine.library_version}, {engine.precision}, {engine.device}",
        f"engine certificate: {engine.certificate}",
        f"bundle SHA-256: {algorithm.bundle_digest}",
        f"weights SHA-256: {algorithm.weights_digest}",
    ]


def _evidence(draft: Draft) -> list[Dataset]:
    """The source images and every object the tree refers to (PS3.3 C.17.2.3)."""
    return [*draft.headers, *([_segmentation_stub(draft)] if draft.found else [])]


def _sort_evidence(report: Dataset) -> None:
    for study in report.CurrentRequestedProcedureEvidenceSequence:
        study.ReferencedSeriesSequence = _sorted(study.ReferencedSeriesSequence, "SeriesInstanceUID")
        for series in study.ReferencedSeriesSequence:
            series.ReferencedSOPSequence = _sorted(series.ReferencedSOPSequence, "ReferencedSOPInstanceUID")


def _sorted(items: Iterable[Dataset], keyword: str) -> list[Dataset]:
    return sorted(items, key=lambda item: str(item[keyword].value))


def _segmentation_stub(draft: Draft) -> Dataset:
    stub = Dataset()
    stub.StudyInstanceUID = draft.headers[0].StudyInstanceUID
    stub.SeriesInstanceUID = draft.uids.series("SEG")
    stub.SOPClassUID = SegmentationStorage
    stub.SOPInstanceUID = draft.uids.instance("SEG")
    return stub


def _separate(item: Dataset) -> None:
    """Continuity SEPARATE in every container: with CONTINUOUS, text renderers print values without their names."""
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", []):
        _separate(child)
