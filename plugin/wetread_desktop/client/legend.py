"""Colours, numbers and order of findings: the same in list, legend and picture."""

from __future__ import annotations

from collections.abc import Iterable

from wetread.records.finding import Evaluation
from wetread_desktop.client.results import Found
from wetread_desktop.client.settings import Colours

SAFE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Okabe and Ito, https://jfly.uni-koeln.de/color/: told apart with every kind of colour blindness, on grey images. From
the eighth class on they come again; the number beside each name tells those apart."""

_ORDER = {Evaluation.PRESENT: 0, Evaluation.UNDETERMINED: 1, Evaluation.ABSENT: 2}


def in_reading_order(findings: Iterable[Found]) -> tuple[Found, ...]:
    """What is abnormal and present first, then structures, then what was not seen; else as the edge says."""
    return tuple(sorted(findings, key=lambda f: (_ORDER[f.evaluation], f.role != "finding")))


def tags(findings: Iterable[Found]) -> dict[str, str]:
    """The number of each finding in that order, by tracking UID."""
    return {f.tracking_uid: str(n) for n, f in enumerate(in_reading_order(findings), start=1)}


def colours(findings: Iterable[Found], choice: Colours) -> dict[str, tuple[int, int, int]]:
    """The colour of each finding, by tracking UID."""
    ordered = in_reading_order(findings)
    if choice is Colours.BUNDLE:
        return {f.tracking_uid: f.colour_rgb for f in ordered}
    return {f.tracking_uid: SAFE[n % len(SAFE)] for n, f in enumerate(ordered)}
