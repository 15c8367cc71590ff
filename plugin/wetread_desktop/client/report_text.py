"""Accepted findings as text, to be pasted into the report that the radiologist writes."""

from __future__ import annotations

from collections.abc import Iterable

from wetread.records.finding import Evaluation
from wetread_desktop.client.panel_state import FindingRow, RowState
from wetread_desktop.client.results import Result
from wetread_desktop.client.wording import person_name
from wetread_desktop.client.words import Catalog, say

EVALUATIONS = {
    Evaluation.PRESENT: say("present"),
    Evaluation.ABSENT: say("not seen"),
    Evaluation.UNDETERMINED: say("not determined"),
}


def accepted_as_text(result: Result, rows: Iterable[FindingRow], words: Catalog, reader: str) -> str:
    """One line for each accepted finding, with its measurements and slice; then by what it was read."""
    lines = [_line(row, words) for row in rows if row.state is RowState.ACCEPTED]
    if not lines:
        lines = [words(say("No finding was accepted."))]
    source = say(
        "Read by {title} {version} (Wetread, research use), accepted by {reader}.",
        title=result.bundle.title,
        version=result.bundle.version,
        reader=person_name(reader),
    )
    return "\n".join((*lines, words(source))) + "\n"


def _line(row: FindingRow, words: Catalog) -> str:
    name = f"{row.name} ({row.laterality})" if row.laterality else row.name
    said = [words(EVALUATIONS[row.evaluation])] if row.is_abnormal or row.evaluation is not Evaluation.PRESENT else []
    said += [f"{what} {how_much}" for what, how_much in row.measurements]
    if row.slice_number is not None:
        said.append(words(say("slice {number}", number=row.slice_number)))
    if row.comment:
        said.append(row.comment)
    return f"- {name}: {', '.join(said)}" if said else f"- {name}"
