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
from wetread.records.finding import Condition, Detection, Evaluation, Finding, Segment, Undetected

OUTSIDE_INTENDED_USE = "Read outside the intended use of the model, so nobody knows how good the answer is:"

_EVALUATIONS = {
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
        yield _code(codes.PROCEDURE_SUMMARY, codes.NOT_READ)
        yield _comment(f"Not read: {draft.refused.reason}.")
        yield _comment(_status(draft))
        return
    findings = draft.context.reading.findings
    summary = _summary(findings)
    if summary is not None:
        yield _code(codes.PROCEDURE_SUMMARY, summary)
    for finding in findings:
        if isinstance(finding, Detection):
            yield _comment(f"{finding.name} {finding.number}: {_place(draft, finding)}")
        elif sentence := _sentence(finding):
            yield _code(concept(finding.type), _EVALUATIONS[finding.evaluation])
            yield _comment(f"{finding.name}: {sentence}")
    for reason in draft.context.reading.outside:
        yield _comment(f"{OUTSIDE_INTENDED_USE} {reason}.")
    yield _comment(_status(draft))


def _summary(findings: Sequence[Finding]) -> CodedConcept | None:
    """Whether there is any finding; nothing if that was not looked for, or cannot be said of every one."""
    abnormal = [f.evaluation for f in findings if f.role == "finding"]
    if Evaluation.PRESENT in abnormal:
        return codes.WITH_FINDINGS
    if Evaluation.UNDETERMINED in abnormal:
        return None
    nothing_found = not any(f.evaluation is Evaluation.PRESENT for f in findings)
    return codes.WITHOUT_FINDINGS if abnormal or nothing_found else None


def _sentence(finding: Finding) -> str:
    """Why it is called what it is called; nothing about a segment that was found: it has a group of its own."""
    match finding:
        case Condition():
            return _score(finding)
        case Undetected():
            return f"no detection with a score of at least {_percent(finding.threshold)}."
        case Segment() if not finding.voxel_count:
            return "no voxel found."
        case _:
            return ""


def _place(draft: Draft, detection: Detection) -> str:
    """For those who read the report as text: there the region is only a reference."""
    index = detection.slice_index
    number = draft.headers[index].get("InstanceNumber")
    image = f"image {number}, " if number is not None else ""
    cut = " It reaches beyond the image and is measured as far as the image goes." if detection.is_cut else ""
    return f"box on {image}slice {index + 1} of {len(draft.headers)}, score {_percent(detection.score)}.{cut}"


def _score(condition: Condition) -> str:
    meaning = "" if condition.calibrated else " The score is not calibrated: it is not a probability."
    score = f"score {_percent(condition.score)}"
    if condition.words:
        score = f"{condition.words}, {_percent(condition.score)}; it"
    if condition.threshold is None:
        return f"{score}; the model has no threshold, so nothing is called.{meaning}"
    reaches = "reaches" if condition.evaluation is Evaluation.PRESENT else "is below"
    return f"{score} {reaches} the threshold of {_percent(condition.threshold)}.{meaning}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _status(draft: Draft) -> str:
    sentence = "AI result, computed automatically and not reviewed by a physician."
    if draft.refused:
        sentence = "AI did not read this study: nothing is said about it, neither that it is normal nor that it is not."
    if draft.context.manifest.clinical_use:
        return sentence
    return f"{sentence} Research use only: not for clinical use."


def _code(name: CodedConcept, value: CodedConcept) -> CodeContentItem:
    return CodeContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)


def _comment(text: str) -> TextContentItem:
    return TextContentItem(name=codes.COMMENT, value=text, relationship_type=RelationshipTypeValues.CONTAINS)
