"""The report's Qualitative Evaluations: whether there is any finding, what was not found, that nobody reviewed it."""

from __future__ import annotations

from collections.abc import Iterator

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
    found = any(f.role == "finding" for f in draft.found)
    looked = any(f.role == "finding" for f in draft.context.reading.findings)
    if looked or not draft.found:
        summary = codes.WITH_FINDINGS if found else codes.WITHOUT_FINDINGS
        yield _code(codes.PROCEDURE_SUMMARY, summary)
    for finding in draft.not_found:
        yield _code(concept(finding.type), codes.ABSENT if finding.role == "finding" else codes.UNDETERMINED)
        yield _comment(f"{finding.name}: no voxel found.")
    yield _comment(_status(draft))


def _status(draft: Draft) -> str:
    sentence = "AI result, computed automatically and not reviewed by a physician."
    if draft.context.manifest.clinical_use:
        return sentence
    return f"{sentence} Research use only: not for clinical use."


def _code(name: CodedConcept, value: CodedConcept) -> CodeContentItem:
    return CodeContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)


def _comment(text: str) -> TextContentItem:
    return TextContentItem(name=codes.COMMENT, value=text, relationship_type=RelationshipTypeValues.CONTAINS)
