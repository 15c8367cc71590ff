"""What no outside tool looks at in reports of scores and boxes: where regions lie, whether calls fit their scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from conformance.tree import children, groups, items, name_of

_CERTAINTY = ("111012", "DCM")
_FINDING = ("121071", "DCM")
_SOURCE = ("121112", "DCM")
_PARAMETERS = ("111002", "DCM")
_QUALITATIVE = ("C0034375", "UMLS")
_PRESENT, _ABSENT, _UNDETERMINED = "52101004", "272519000", "373068000"
_THRESHOLD = re.compile(r"score threshold: (none|[0-9.e-]+)")


def check_regions(report: Dataset, sources: Sequence[Path]) -> Iterator[str]:
    """Regions are closed and lie inside an image of the series that was read."""
    images = {str(h.SOPInstanceUID): h for h in (dcmread(p, stop_before_pixels=True) for p in sources)}
    for region in (item for item in items(report) if item.get("ValueType") == "SCOORD"):
        points = np.array(region.GraphicData, float).reshape(-1, 2)
        if region.GraphicType == "POLYLINE" and not np.array_equal(points[0], points[-1]):
            yield "a region is not closed"
        named = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in region.get("ContentSequence", [])]
        header = images.get(str(named[0])) if len(named) == 1 else None
        if header is None:
            yield f"a region lies on {named or 'no image'}, not on one image that was read"
        elif points.min() < 0 or (points > (header.Columns, header.Rows)).any():
            yield f"a region reaches beyond its image: {points.tolist()}"


def check_scores(report: Dataset) -> Iterator[str]:
    """Whatever has no place in the image is called present, absent or undetermined, as its score says."""
    called = _evaluations(report)
    for group in groups(report):
        certainties = [float(n.MeasuredValueSequence[0].NumericValue) for n in children(group, _CERTAINTY)]
        if any(not 0 <= value <= 100 for value in certainties):
            yield f"a certainty is not 0 to 100 %: {certainties}"
        if any(_has_place(item) for item in items(group)):
            continue
        finding = children(group, _FINDING)[0].ConceptCodeSequence[0]
        evaluation = called.get((finding.CodeValue, finding.CodingSchemeDesignator), [""]).pop(0)
        if evaluation not in _possible(group, certainties):
            yield f"{finding.CodeMeaning!r} with the score {certainties} is called {evaluation or 'nothing'}"


def _has_place(item: Dataset) -> bool:
    """A region or a segment; a score may name the film it is of."""
    return item.get("ValueType") == "SCOORD" or (item.get("ValueType") == "IMAGE" and name_of(item) != _SOURCE)


def _evaluations(report: Dataset) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for container in children(report, _QUALITATIVE):
        for item in container.ContentSequence:
            if item.ValueType == "CODE":
                found.setdefault(name_of(item), []).append(str(item.ConceptCodeSequence[0].CodeValue))
    return found


def _possible(group: Dataset, certainties: list[float]) -> set[str]:
    """A group without certainty is about what was looked for and not found."""
    if not certainties:
        return {_ABSENT, _UNDETERMINED}
    (threshold,) = {found[1] for found in _THRESHOLD.finditer(_parameters(group))}
    if threshold == "none":
        return {_UNDETERMINED}
    return {_PRESENT} if certainties[0] >= 100 * float(threshold) else {_ABSENT}


def _parameters(group: Dataset) -> str:
    return "\n".join(item.TextValue for item in items(group) if name_of(item) == _PARAMETERS)
