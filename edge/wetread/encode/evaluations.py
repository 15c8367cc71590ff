"""The report's Qualitative Evaluations: any finding or none, what was called or not found, that nobody reviewed it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    RelationshipTypeValues,
    TextContentItem,
)

from wetread.encode import codes
from wetread.encode.codes import concept
from wetread.encode.context import Draft
from wetread.records.finding import Detection, Evaluation, Finding
from wetread.records.wording import percent, sentence

OUTSIDE_INTENDED_USE = "Read outside the intended use of the model, so nobody knows how good the answer is:"

EVALUATIONS = {
    Evaluation.PRESENT: codes.PRESENT,
    Evaluation.ABSENT: codes.ABSENT,
    Evaluation.UNDETERMINED: codes.UNDETERMINED,
}


def qualitative_evaluations(draft: Draft) -> ContainerContentItem:
    """The Qualitative Evaluations container of TID 1500, built by hand: highdicom has no API for it."""
    container = ContainerContentItem(
        name=codes.QUALITATIVE_EVALUATIONS,
        is_content_continuous=False,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    container.ContentSequence = ContentSequence(list(_items(draft)))
    return container


def _items(draft: Draft) -> Iterator[ContentItem]:
    """Silence never means normal: a read that looked for findings says whether there are any."""
    if draft.refused:
        yield code_item_of(codes.PROCEDURE_SUMMARY, codes.NOT_READ)
        yield comment_item(f"Not read: {draft.refused.reason}.")
        yield comment_item(_status(draft))
        return
    findings = draft.context.reading.findings
    summary = _summary(findings)
    if summary is not None:
        yield code_item_of(codes.PROCEDURE_SUMMARY, summary)
    for finding in findings:
        if isinstance(finding, Detection):
            yield comment_item(f"{finding.name} {finding.number}: {_place(draft, finding)}")
        elif said := sentence(finding):
            yield code_item_of(concept(finding.type), EVALUATIONS[finding.evaluation])
            yield comment_item(f"{finding.name}: {said}")
    for reason in draft.context.reading.outside:
        yield comment_item(f"{OUTSIDE_INTENDED_USE} {reason}.")
    yield comment_item(_status(draft))


def _summary(findings: Sequence[Finding]) -> CodedConcept | None:
    """Whether there is any finding; nothing if that was not looked for, or cannot be said of every one."""
    abnormal = [f.evaluation for f in findings if f.role == "finding"]
    if Evaluation.PRESENT in abnormal:
        return codes.WITH_FINDINGS
    if Evaluation.UNDETERMINED in abnormal:
        return None
    nothing_found = not any(f.evaluation is Evaluation.PRESENT for f in findings)
    return codes.WITHOUT_FINDINGS if abnormal or nothing_found else None


def _place(draft: Draft, detection: Detection) -> str:
    """For those who read the report as text: there the region is only a reference."""
    index = detection.slice_index
    number = draft.headers[index].get("InstanceNumber")
    image = f"image {number}, " if number is not None else ""
    cut = " It reaches beyond the image and is measured as far as the image goes." if detection.is_cut else ""
    return f"box on {image}slice {index + 1} of {len(draft.headers)}, score {percent(detection.score)}.{cut}"


def _status(draft: Draft) -> str:
    status = "AI result, computed automatically and not reviewed by a physician."
    if draft.refused:
        status = "AI did not read this study: nothing is said about it, neither that it is normal nor that it is not."
    if draft.context.manifest.clinical_use:
        return status
    return f"{status} Research use only: not for clinical use."


def code_item_of(name: CodedConcept, value: CodedConcept) -> CodeContentItem:
    """A coded answer, contained in the one above."""
    return CodeContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)


def comment_item(text: str) -> TextContentItem:
    """A sentence for people."""
    return TextContentItem(name=codes.COMMENT, value=text, relationship_type=RelationshipTypeValues.CONTAINS)
