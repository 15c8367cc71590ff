"""The lines of the list of findings, and what a result says of itself."""

from __future__ import annotations

from wetread_desktop.client.legend import colours, in_reading_order, tags
from wetread_desktop.client.panel_state import FindingRow, RowState
from wetread_desktop.client.results import Found, Measured, Result
from wetread_desktop.client.review_session import ReviewSession
from wetread_desktop.client.settings import Colours
from wetread_desktop.client.wording import quantity
from wetread_desktop.client.words import Sentence, say


def rows_of(result: Result, session: ReviewSession, seen: set[str], choice: Colours) -> tuple[FindingRow, ...]:
    """One line for each thing that was looked for, in reading order. ``seen``: tracking UIDs that were looked at."""
    numbers, paint = tags(result.findings), colours(result.findings, choice)
    return tuple(
        _row(f, session, tag=numbers[f.tracking_uid], colour=paint[f.tracking_uid], is_seen=f.tracking_uid in seen)
        for f in in_reading_order(result.findings)
    )


def _row(found: Found, session: ReviewSession, *, tag: str, colour: tuple[int, int, int], is_seen: bool) -> FindingRow:
    decided = session.of(found.tracking_uid)
    place = found.place or found.box
    return FindingRow(
        tracking_uid=found.tracking_uid,
        tag=tag,
        name=found.name,
        laterality=found.laterality,
        evaluation=found.evaluation,
        is_abnormal=found.role == "finding",
        state=RowState(decided.state),
        comment=decided.comment,
        colour_rgb=colour,
        measurements=tuple((m.name, quantity(m)) for m in found.measurements if not _is_said(m, found)),
        wording=found.wording,
        slice_number=place.slice_number if place else None,
        has_heatmap=found.heatmap,
        is_seen=is_seen,
        is_unsent=session.is_unsent(found.tracking_uid),
    )


def _is_said(measured: Measured, found: Found) -> bool:
    """The score, which the wording says already."""
    return bool(found.wording) and found.score is not None and measured.unit == "%" and _same(measured, found.score)


def _same(measured: Measured, score: float) -> bool:
    return abs(measured.value - 100 * score) < _HALF_A_DIGIT


_HALF_A_DIGIT = 0.05


def about_result(result: Result) -> tuple[Sentence, ...]:
    """By what it was read, for what that was made, and what the read says of itself."""
    bundle = result.bundle
    said: list[Sentence] = [say("Read by {title} {version}", title=bundle.title, version=bundle.version)]
    if not bundle.clinical_use:
        said.append(say("Research use: not for clinical decisions."))
    if result.superseded_by:
        said.append(say("This study was read again: this is not the latest read."))
    if bundle.intended_use:
        said.append(say("Made for: {what}", what=bundle.intended_use))
    said += [say("Not for: {what}", what=what) for what in bundle.not_for]
    return (*said, *result.notes)
