"""What a SEG or SR of anybody says about images: read from the file alone, to learn from and to measure on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from highdicom import VolumeGeometry
from highdicom.seg import segread
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code

from wetread.errors import OutputInvalid
from wetread.records.coded import CodedTerm
from wetread.records.volume import Volume

_SAME_PLACE_MM = 1e-3
_FINDING, _MEASUREMENT_GROUP, _PERSON = "121071", "125007", "121006"
_ANSWERS: dict[str, bool | None] = {
    "52101004": True,  # Present (CID 240)
    "121053": True,  # Present (DCM)
    "410515003": True,  # Known present
    "410605003": True,  # Confirmed present
    "272519000": False,  # Absent (CID 240)
    "410516002": False,  # Known absent
    "410594000": False,  # Definitely not present
    "373068000": None,  # Undetermined (CID 240)
    "410590009": None,  # Known possible
    "410592001": None,  # Probably present
    "410593006": None,  # Probably not present
}
"""SNOMED's finding context values; what is not certain (None) is no label."""
_OF_THE_FINDING = frozenset({"705057003", "246103008", "111012"})
"""Presence, Certainty, Certainty of Finding: answers of that name are about the Finding of their group; any other name
is itself what is there or not."""


@dataclass(frozen=True, slots=True)
class DrawnSegment:
    """One structure of a SEG."""

    number: int
    label: str
    """As its author calls it; what it is says ``type``."""
    type: CodedTerm
    laterality: CodedTerm | None
    is_automatic: bool
    """Segment Algorithm Type is AUTOMATIC: no person drew or changed it (PS3.3 C.8.20.2.3)."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One SEG."""

    path: Path
    sop_instance_uid: str
    series_instance_uids: frozenset[str]
    """Of the images that it says it was drawn on."""
    segments: tuple[DrawnSegment, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """What a report says of one condition."""

    condition: CodedTerm
    present: bool | None
    """None: the report says that it is not certain."""
    images: frozenset[str]
    """SOP Instance UIDs that it is said of; empty: of all that the report is about."""


@dataclass(frozen=True, slots=True)
class ReadReport:
    """One SR."""

    path: Path
    sop_instance_uid: str
    is_verified: bool
    """Verification Flag is VERIFIED: a person attested to it (PS3.3 C.17.2)."""
    has_person: bool
    """A person observed; without one it is a device's alone."""
    replaces: frozenset[str]
    """SOP Instance UIDs of its predecessors."""
    evidence: frozenset[str]
    """SOP Instance UIDs of the images it rests on."""
    statements: tuple[Statement, ...]
    segments: frozenset[tuple[str, int]]
    """Segments that it reports: SOP Instance UID of the SEG, Segment Number."""


def same_term(one: CodedTerm, other: CodedTerm) -> bool:
    """Whether two codes mean one thing; retired SNOMED RT codes equal their SNOMED CT successors (PS3.16 8)."""
    return bool(_code(one) == _code(other))


def read_drawing(path: Path) -> Drawing:
    """The header of a SEG."""
    ds = dcmread(path, stop_before_pixels=True)
    return Drawing(
        path,
        str(ds.SOPInstanceUID),
        frozenset(str(series.SeriesInstanceUID) for series in ds.get("ReferencedSeriesSequence", [])),
        # A label map has an item for the background, too (PS3.3 C.8.20.2.3).
        tuple(_segment(item) for item in ds.get("SegmentSequence", []) if int(item.SegmentNumber) > 0),
    )


def drawn_mask(drawing: Drawing, numbers: Sequence[int], volume: Volume) -> npt.NDArray[np.bool_]:
    """Where any of these segments is, on the grid of ``volume``.

    Frames are put where their Plane Position says; other slice orders, crops and margins are resolved, nothing is
    interpolated. Raises: ``OutputInvalid`` when the SEG does not lie on that grid.
    """
    segmentation = segread(drawing.path)
    grid = VolumeGeometry(
        affine=volume.affine,
        spatial_shape=volume.array.shape,
        coordinate_system="PATIENT",
        frame_of_reference_uid=volume.frame_of_reference_uid,
    )
    drawn: npt.NDArray[np.bool_] = np.zeros(volume.array.shape, np.bool_)
    try:
        for number in numbers:  # one by one: segments may overlap
            one = segmentation.get_volume(segment_numbers=[number], combine_segments=True, dtype=np.uint8)
            drawn |= one.match_geometry(grid, tol=_SAME_PLACE_MM).array > 0
    except (RuntimeError, ValueError, IndexError) as exc:
        raise OutputInvalid(
            f"{drawing.path.name} does not lie on the grid of {volume.series.label} ({exc}); draw it on that series, "
            "or resample it before"
        ) from exc
    return drawn


def read_report(path: Path) -> ReadReport:
    """What an SR says is present or absent, and which segments it reports."""
    ds = dcmread(path)
    statements = tuple(_statements(ds, frozenset()))
    return ReadReport(
        path,
        str(ds.SOPInstanceUID),
        ds.get("VerificationFlag") == "VERIFIED",
        any(_concept(item, "ConceptCodeSequence") == _PERSON for item in _items(ds)),
        frozenset(_referenced(ds.get("PredecessorDocumentsSequence", []))),
        frozenset(_referenced(ds.get("CurrentRequestedProcedureEvidenceSequence", []))),
        _with_images(statements, _images_of_findings(ds)),
        frozenset(_reported_segments(ds)),
    )


def _segment(item: Dataset) -> DrawnSegment:
    kind = item.SegmentedPropertyTypeCodeSequence[0]
    sides = kind.get("SegmentedPropertyTypeModifierCodeSequence", [])
    return DrawnSegment(
        int(item.SegmentNumber),
        str(item.get("SegmentLabel", "")),
        _term(kind),
        _term(sides[0]) if sides else None,
        item.get("SegmentAlgorithmType") == "AUTOMATIC",
    )


def _statements(item: Dataset, images: frozenset[str]) -> Iterator[Statement]:
    """Every coded answer below ``item``; ``images``: what the measurement group around it names."""
    if _name(item) == _MEASUREMENT_GROUP:
        images = frozenset(_images(item))
    finding = _finding(item)
    for child in item.get("ContentSequence", []):
        value, name = _concept(child, "ConceptCodeSequence"), _name(child)
        if name and value in _ANSWERS:
            about = finding if name in _OF_THE_FINDING else None
            about = about or _term(child.ConceptNameCodeSequence[0])
            yield Statement(about, _ANSWERS[value], images)
        yield from _statements(child, images)


def _finding(group: Dataset) -> CodedTerm | None:
    """Finding (121071, DCM) of a measurement group (TID 1501 row 3a, TID 1410, TID 1411)."""
    if _name(group) != _MEASUREMENT_GROUP:
        return None
    found = [i for i in group.get("ContentSequence", []) if _name(i) == _FINDING and i.get("ConceptCodeSequence")]
    return _term(found[0].ConceptCodeSequence[0]) if found else None


def _images_of_findings(ds: Dataset) -> list[tuple[CodedTerm, frozenset[str]]]:
    """The finding of each measurement group, with the images the group names."""
    groups = [(_finding(item), frozenset(_images(item))) for item in _items(ds) if _name(item) == _MEASUREMENT_GROUP]
    return [(finding, images) for finding, images in groups if finding is not None and images]


def _with_images(
    statements: Sequence[Statement], groups: Sequence[tuple[CodedTerm, frozenset[str]]]
) -> tuple[Statement, ...]:
    """An answer in the Qualitative Evaluations is about the images of the group with that finding (TID 1500)."""
    found = []
    for statement in statements:
        named = [images for finding, images in groups if same_term(finding, statement.condition)]
        images = statement.images or frozenset[str]().union(*named)
        found.append(Statement(statement.condition, statement.present, images))
    return tuple(found)


def _images(item: Dataset) -> Iterator[str]:
    """SOP Instance UIDs of the IMAGE items below, segmentations left out: a group refers to those by their number."""
    for child in _items(item):
        for reference in child.get("ReferencedSOPSequence", []):
            if child.get("ValueType") == "IMAGE" and "ReferencedSegmentNumber" not in reference:
                yield str(reference.ReferencedSOPInstanceUID)


def _reported_segments(ds: Dataset) -> Iterator[tuple[str, int]]:
    for item in _items(ds):
        for reference in item.get("ReferencedSOPSequence", []):
            numbers = reference.get("ReferencedSegmentNumber")
            for number in [numbers] if isinstance(numbers, int) else numbers or []:
                yield str(reference.ReferencedSOPInstanceUID), int(number)


def _referenced(studies: Sequence[Dataset]) -> Iterator[str]:
    for study in studies:
        for series in study.get("ReferencedSeriesSequence", []):
            for reference in series.get("ReferencedSOPSequence", []):
                yield str(reference.ReferencedSOPInstanceUID)


def _items(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence", []):
        yield from _items(child)


def _name(item: Dataset) -> str:
    return _concept(item, "ConceptNameCodeSequence")


def _concept(item: Dataset, keyword: str) -> str:
    sequence = item.get(keyword)
    return _term(sequence[0]).value if sequence else ""


def _term(code: Dataset) -> CodedTerm:
    """A code in any of its three lengths (PS3.3 8.8)."""
    value = code.get("CodeValue") or code.get("LongCodeValue") or code.get("URNCodeValue") or ""
    return CodedTerm(str(value), str(code.get("CodingSchemeDesignator", "")), str(code.get("CodeMeaning", "")))


def _code(term: CodedTerm) -> Code:
    return Code(term.value, term.scheme, term.meaning)
