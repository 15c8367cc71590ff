"""Reports of many measurement groups, in parts that a slow template validator can hold.

PixelMed needs half a second for each group and more than 4 GB for a hundred at once. It holds templates group by group,
so a report says the same to it in parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset, dcmread

from conformance.tree import name_of

GROUPS_AT_ONCE = 11
_IMAGING_MEASUREMENTS = ("126010", "DCM")
_FREE = frozenset(
    {"TextValue", "UID", "NumericValue", "FloatingPointValue", "ReferencedSegmentNumber", "ReferencedSOPInstanceUID"}
)
"""What templates leave free: of groups that differ in nothing else one is checked."""


def in_parts(path: Path, folder: Path) -> Iterator[Path]:
    """The report if it is small, else copies in ``folder`` with a few groups each, every kind of group in one."""
    report = dcmread(path)
    containers = [c for c in report.ContentSequence if name_of(c) == _IMAGING_MEASUREMENTS]
    if not containers or len(containers[0].ContentSequence) <= GROUPS_AT_ONCE:
        yield path
        return
    different = list({_shape(group): group for group in containers[0].ContentSequence}.values())
    for start in range(0, len(different), GROUPS_AT_ONCE):
        containers[0].ContentSequence = different[start : start + GROUPS_AT_ONCE]
        part = folder / f"{start}.dcm"
        report.save_as(part)
        yield part


def _shape(item: Dataset) -> tuple[object, ...]:
    return tuple(
        (element.tag, tuple(map(_shape, element.value)))
        if element.VR == "SQ"
        else (element.tag, bool(str(element.value)) if element.keyword in _FREE else str(element.value))
        for element in item
    )
