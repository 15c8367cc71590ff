"""Walking an SR content tree."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset

GROUP = ("125007", "DCM")
"""Measurement Group."""


def items(item: Dataset) -> Iterator[Dataset]:
    """The item and all below it, from the top."""
    yield item
    for child in item.get("ContentSequence", []):
        yield from items(child)


def name_of(item: Dataset) -> tuple[str, str]:
    """Code and scheme of the concept name; empty without one."""
    concept = item.get("ConceptNameCodeSequence")
    return (concept[0].CodeValue, concept[0].CodingSchemeDesignator) if concept else ("", "")


def children(item: Dataset, name: tuple[str, str]) -> list[Dataset]:
    """The items of that concept name directly below."""
    return [child for child in item.get("ContentSequence", []) if name_of(child) == name]


def texts(report: Dataset) -> str:
    """All TEXT items, a line each."""
    return "\n".join(str(item.TextValue) for item in items(report) if item.ValueType == "TEXT")


def groups(report: Dataset) -> Iterator[Dataset]:
    """Every measurement group."""
    return (item for item in items(report) if name_of(item) == GROUP)
