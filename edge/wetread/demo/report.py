"""A structured report as a tree of text: names and values, nothing interpreted (PS3.3 C.17.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset


@dataclass(frozen=True, slots=True)
class Node:
    """One content item."""

    name: str
    value: str
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This item and all below it, from the top."""
        yield self
        for child in self.children:
            yield from child.walk()

    def values(self, name: str) -> list[str]:
        """The different values of all items of that name, in order."""
        return list(dict.fromkeys(node.value for node in self.walk() if node.name == name))


def read_tree(ds: Dataset) -> Node:
    """The content tree of a report (or of one of its items)."""
    names = ds.get("ConceptNameCodeSequence")
    name = str(names[0].CodeMeaning) if names else str(ds.get("RelationshipType", "")).lower()
    children = tuple(read_tree(item) for item in ds.get("ContentSequence", []))
    return Node(name, _value(ds), children)


def _value(item: Dataset) -> str:
    kind = item.get("ValueType", "")
    if kind == "CODE":
        code = item.ConceptCodeSequence[0]
        return f"{code.CodeMeaning} ({code.CodeValue}, {code.CodingSchemeDesignator})"
    if kind == "NUM":
        return _number(item)
    if kind in ("IMAGE", "COMPOSITE"):
        return _reference(item)
    keyword = {"TEXT": "TextValue", "UIDREF": "UID", "PNAME": "PersonName", "DATE": "Date", "TIME": "Time"}.get(
        kind, ""
    )
    return str(item.get(keyword, "")) if keyword else ""


def _number(item: Dataset) -> str:
    measured = item.get("MeasuredValueSequence")
    if not measured:
        return "not measured"
    return f"{measured[0].NumericValue} {measured[0].MeasurementUnitsCodeSequence[0].CodeValue}"


def _reference(item: Dataset) -> str:
    reference = item.ReferencedSOPSequence[0]
    segments = reference.get("ReferencedSegmentNumber")
    where = f", segment {segments}" if segments else ""
    return f"{reference.ReferencedSOPClassUID.name}{where}"
