"""Structured report: TID 1500 with one group for each finding (PS3.16), as Comprehensive SR or Comprehensive 3D SR."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from highdicom.sr import (
    Comprehensive3DSR,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, ExplicitVRLittleEndian

from wetread.encode.codes import concept
from wetread.encode.context import Draft
from wetread.encode.evaluations import qualitative_evaluations
from wetread.encode.groups import measurement_groups, not_read
from wetread.encode.provenance import MANUFACTURER, device_uid, finish, series_number, software_versions
from wetread.encode.text import text_line
from wetread.records.reading import AlgorithmIdentity
from wetread.records.result import Rendition

KIND = "SR"

_CLASSES: dict[Rendition, tuple[str, type[ComprehensiveSR] | type[Comprehensive3DSR]]] = {
    Rendition.MODERN: (Comprehensive3DSRStorage, Comprehensive3DSR),
    Rendition.COMMON: (ComprehensiveSRStorage, ComprehensiveSR),
}
"""The content is the same: regions are given on a slice (SCOORD), which both allow (PS3.3 A.35.3, A.35.13)."""


def encode_report(draft: Draft) -> Iterator[Dataset]:
    """One report: PRELIMINARY, COMPLETE, UNVERIFIED. It is written also when nothing was found."""
    algorithm = draft.context.reading.algorithm
    _, document = _CLASSES[draft.rendition]
    report = document(
        evidence=_evidence(draft),
        content=_content(draft),
        series_instance_uid=draft.uids.series(KIND),
        series_number=series_number(draft, KIND),
        sop_instance_uid=_uid(draft),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=text_line(algorithm.bundle_name, 64),
        software_versions=software_versions(algorithm),
        device_serial_number=algorithm.weights_digest,
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=_predecessors(draft) or None,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
    )
    _sort_evidence(report)
    yield finish(report, draft, KIND)


def _uid(draft: Draft) -> str:
    """A report that takes the place of another says so, and is another object than one that does not."""
    return draft.uids.instance(KIND, " ".join(str(stub.SOPInstanceUID) for stub in _predecessors(draft)))


def _predecessors(draft: Draft) -> list[Dataset]:
    """The reports this one takes the place of (Predecessor Documents Sequence, PS3.3 C.17.2): those of its own
    rendition, because no other is where it goes; any, if there is none.
    """
    mine, _ = _CLASSES[draft.rendition]
    delivered = draft.context.spec.supersedes
    reports = [report for report in delivered if report.sop_class_uid == mine] or delivered
    stubs = []
    for report in sorted(reports, key=lambda report: report.sop_instance_uid):
        stub = Dataset()
        stub.StudyInstanceUID = draft.headers[0].StudyInstanceUID
        stub.SeriesInstanceUID = report.series_instance_uid
        stub.SOPClassUID = report.sop_class_uid
        stub.SOPInstanceUID = report.sop_instance_uid
        stubs.append(stub)
    return stubs


def _content(draft: Draft) -> Dataset:
    report = MeasurementReport(
        observation_context=_observer(draft.context.reading.algorithm),
        procedure_reported=concept(draft.context.manifest.procedure.term()),
        imaging_measurements=[not_read(draft)] if draft.refused else measurement_groups(draft),
    )
    root: Dataset = report[0]
    if draft.refused:
        _without_measurements(root)
    root.ContentSequence.append(qualitative_evaluations(draft))
    _separate(root)
    return root


def _without_measurements(root: Dataset) -> None:
    """Of what was not read nothing is measured: a group would name a finding. highdicom writes no report without one.

    Imaging Measurements may be left out where there are Qualitative Evaluations (PS3.16 TID 1500).
    """
    root.ContentSequence = [i for i in root.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue != _MEASUREMENTS]


_MEASUREMENTS = "126010"
"""(126010, DCM, "Imaging Measurements")."""


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


def _evidence(draft: Draft) -> list[Dataset]:
    """The source images and every object the tree refers to (PS3.3 C.17.2.3)."""
    return [*draft.headers, *([_segmentation_stub(draft)] if draft.segments else [])]


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
    stub.SOPClassUID = draft.segmentation_class_uid
    stub.SOPInstanceUID = draft.uids.instance("SEG")
    return stub


def _separate(item: Dataset) -> None:
    """Continuity SEPARATE in every container: with CONTINUOUS, text renderers print values without their names."""
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", []):
        _separate(child)
