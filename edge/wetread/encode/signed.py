"""A report that a person signed: the preliminary one with what was accepted, FINAL and VERIFIED (PS3.3 C.17.2).

It is made from the committed preliminary report, group by group, so every number, reference and tracking UID is the one
that was reviewed; nothing is computed again. What it refers to is the segmentation of what was accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from highdicom.sr import (
    CodedConcept,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
)
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.sr.codedict import codes as standard
from pydicom.valuerep import PersonName

from wetread.bundles.bundle import file_sha256
from wetread.durable import write_atomically
from wetread.encode import codes
from wetread.encode.codes import concept
from wetread.encode.evaluations import EVALUATIONS, OUTSIDE_INTENDED_USE, code_item_of, comment_item
from wetread.encode.reviewed import set_reviewed, signed_time
from wetread.encode.signed_seg import AcceptedSegments
from wetread.encode.text import choose_character_set, text_line
from wetread.errors import SpoolUnavailable
from wetread.records.finding import Evaluation
from wetread.records.numbers import number_of
from wetread.records.result import EncodedResult, ReportRef
from wetread.records.sign_off import ReviewedFinding, Signature

_RESEARCH = "Research use only: not for clinical use."
_IMAGING_MEASUREMENTS, _QUALITATIVE_EVALUATIONS = "126010", "C0034375"
_OBSERVER_TYPE, _TRACKING_UID = "121005", "112040"


def encode_signed(
    preliminary: EncodedResult,
    reviewed: Sequence[ReviewedFinding],
    signature: Signature,
    *,
    segments: AcceptedSegments | None = None,
    also_replaces: Iterable[ReportRef] = (),
    out: Path,
) -> EncodedResult:
    """Write the signed report that follows ``preliminary`` to ``out``.

    ``segments``: what was accepted of the segmentation that ``preliminary`` refers to, if it does.
    ``also_replaces``: signed reports of earlier reads whose place it takes.
    Raises: ``SpoolUnavailable`` when the disk is full or cannot be written.
    """
    report = dcmread(preliminary.path)
    report.decode()
    declared = Dataset()
    declared.SpecificCharacterSet = report.get("SpecificCharacterSet")
    _set_content(report, reviewed, signature)
    if segments is not None:
        _refer_to(report, segments)
    _set_verified(report, signature)
    first = ReportRef(preliminary.sop_class_uid, preliminary.sop_instance_uid, preliminary.series_instance_uid)
    report.PredecessorDocumentsSequence = _documents(str(report.StudyInstanceUID), [first, *also_replaces])
    set_reviewed(report, preliminary, signature)
    choose_character_set(report, declared)
    try:
        write_atomically(out, lambda part: dcmwrite(part, report, enforce_file_format=True))
    except OSError as exc:
        raise SpoolUnavailable(f"the signed report cannot be written to {out}: {exc.strerror or exc}") from exc
    return replace(
        preliminary,
        sop_instance_uid=str(report.SOPInstanceUID),
        series_instance_uid=str(report.SeriesInstanceUID),
        path=out,
        sha256=file_sha256(out),
    )


def _refer_to(report: Dataset, segments: AcceptedSegments) -> None:
    """Put the segmentation of what was accepted where the committed one stood, in content and evidence."""
    here = segments.result
    for reference in (r for item in _items(report) for r in item.get("ReferencedSOPSequence", [])):
        if here is not None and reference.ReferencedSOPInstanceUID == segments.taken_from:
            reference.ReferencedSOPInstanceUID = here.sop_instance_uid
            reference.ReferencedSegmentNumber = segments.numbers[int(reference.ReferencedSegmentNumber)]
    for study in report.CurrentRequestedProcedureEvidenceSequence:
        series = [s for s in study.ReferencedSeriesSequence if not _names(s, segments.taken_from)]
        series += [_evidence(here)] if here is not None else []
        study.ReferencedSeriesSequence = sorted(series, key=lambda s: str(s.SeriesInstanceUID))


def _names(series: Dataset, sop_instance_uid: str) -> bool:
    return any(item.ReferencedSOPInstanceUID == sop_instance_uid for item in series.ReferencedSOPSequence)


def _evidence(result: EncodedResult) -> Dataset:
    item, series = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = result.sop_class_uid, result.sop_instance_uid
    series.SeriesInstanceUID, series.ReferencedSOPSequence = result.series_instance_uid, [item]
    return series


def _set_verified(report: Dataset, signature: Signature) -> None:
    """SR Document General Module (PS3.3 Table C.17-2)."""
    when = signed_time(signature, report)
    report.CompletionFlag = "COMPLETE"
    report.PreliminaryFlag = "FINAL"
    report.VerificationFlag = "VERIFIED"
    observer = Dataset()
    observer.VerifyingOrganization = text_line(signature.organization, 64)
    observer.VerificationDateTime = when.strftime("%Y%m%d%H%M%S.%f%z")
    observer.VerifyingObserverName = PersonName(signature.reader)
    observer.VerifyingObserverIdentificationCodeSequence = []
    report.VerifyingObserverSequence = [observer]


def _documents(study_instance_uid: str, reports: Iterable[ReportRef]) -> list[Dataset]:
    """One study with a series for each report (PS3.3 C.17.2.1)."""
    study = Dataset()
    study.StudyInstanceUID = study_instance_uid
    study.ReferencedSeriesSequence = []
    by_series: dict[str, list[Dataset]] = {}
    for report in sorted(set(reports), key=lambda r: (r.series_instance_uid, r.sop_instance_uid)):
        item = Dataset()
        item.ReferencedSOPClassUID = report.sop_class_uid
        item.ReferencedSOPInstanceUID = report.sop_instance_uid
        by_series.setdefault(report.series_instance_uid, []).append(item)
    for series_instance_uid, items in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID = series_instance_uid
        series.ReferencedSOPSequence = items
        study.ReferencedSeriesSequence.append(series)
    return [study]


def _set_content(report: Dataset, reviewed: Sequence[ReviewedFinding], signature: Signature) -> None:
    accepted = {r.finding.tracking_uid for r in reviewed if r.is_accepted}
    content: list[Dataset] = []
    for item in report.ContentSequence:
        if _name(item) == _OBSERVER_TYPE:
            content += _person(signature)
        if _name(item) == _IMAGING_MEASUREMENTS:
            item.ContentSequence = [g for g in item.ContentSequence if _tracking_uid(g) in accepted]
            if not item.ContentSequence:
                continue
        if _name(item) == _QUALITATIVE_EVALUATIONS:
            kept = [i for i in item.ContentSequence if str(i.get("TextValue", "")).startswith(OUTSIDE_INTENDED_USE)]
            research = any(_RESEARCH in str(i.get("TextValue", "")) for i in item.ContentSequence)
            item.ContentSequence = [*_evaluations(reviewed, signature), *kept]
            item.ContentSequence += [comment_item(_RESEARCH)] if research else []
        content.append(item)
    report.ContentSequence = content


def _person(signature: Signature) -> list[Dataset]:
    """TID 1003 beside the device's TID 1004: both observed."""
    person = ObserverContext(
        observer_type=standard.DCM.Person,
        observer_identifying_attributes=PersonObserverIdentifyingAttributes(
            name=signature.reader,
            login_name=signature.reader_id or None,
            organization_name=text_line(signature.organization, 64),
        ),
    )
    return list(person)


def _evaluations(reviewed: Sequence[ReviewedFinding], signature: Signature) -> Iterator[Dataset]:
    """As in the preliminary report, of what was accepted; and what became of the rest, by number alone."""
    accepted = [r for r in reviewed if r.is_accepted]
    if any(r.finding.role == "finding" and r.finding.evaluation == Evaluation.PRESENT for r in accepted):
        yield code_item_of(codes.PROCEDURE_SUMMARY, codes.WITH_FINDINGS)
    for reviewed_finding in accepted:
        yield from _evaluation(reviewed_finding)
    name = PersonName(signature.reader).family_comma_given()
    yield comment_item(
        f"AI result, reviewed by {name}: {len(accepted)} of {number_of(len(reviewed), 'finding')} accepted;"
        " what was not accepted is not in this report."
    )


def _evaluation(reviewed: ReviewedFinding) -> Iterator[Dataset]:
    finding = reviewed.finding
    if finding.wording:
        if finding.box is None:
            yield code_item_of(concept(finding.code), _evaluation_code(finding.evaluation))
        place = f"box on slice {finding.box.slice_number}, " if finding.box is not None else ""
        yield comment_item(f"{finding.name}: {place}{finding.wording}")
    if reviewed.comment:
        yield comment_item(f"{finding.name}, the reader: {' '.join(reviewed.comment.split())}")


def _evaluation_code(evaluation: str) -> CodedConcept:
    return EVALUATIONS[Evaluation(evaluation)]


def _tracking_uid(group: Dataset) -> str:
    return next((str(i.UID) for i in group.get("ContentSequence", []) if _name(i) == _TRACKING_UID), "")


def _name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue) if "ConceptNameCodeSequence" in item else ""


def _items(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence", []):
        yield from _items(child)
