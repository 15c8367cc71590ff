"""What no outside tool looks at: codes that mean what they say, units, tracking, templates, and the warning."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import ParametricMapStorage

from conformance.tree import children, groups

_PROCEDURE_REPORTED = ("121058", "DCM")
_TRACKING_ID, _TRACKING_UID = ("112039", "DCM"), ("112040", "DCM")
_SEGMENT = ("121191", "DCM")
_REVIEWED = re.compile(r" - REVIEWED(, OUTSIDE INTENDED USE)?$")
_GROUP_TEMPLATES = frozenset({"1410", "1411", "1501"})
_SYNONYMS = {("123037004", "SCT"): "anatomical structure", ("260753009", "SCT"): "source"}
"""CID 7150 and TID 1410 call them so; the Standard's list of all SCT codes has other names."""
_EXPLANATIONS = frozenset({"130402", "130403", "130404"})
"""CID 217."""
_LETTERS = ("RL", "AP", "FH")
"""Towards smaller and larger x, y and z."""
_MORE_UCUM = frozenset({"mL", "mm3", "cm3", "1", "%", "{ratio}"})


def check(dataset: Dataset) -> Iterator[str]:
    """Every complaint about one result object."""
    yield from _codes(dataset)
    description = dataset.get("SeriesDescription", "")
    if is_signed(dataset) and not _REVIEWED.search(description):
        yield "a person signed it, and the series description does not say REVIEWED"
    elif not is_signed(dataset) and not is_accepted(dataset) and "NOT REVIEWED" not in description:
        yield "the series description does not say NOT REVIEWED"
    by_modality = {"SR": _report, "SEG": _segmentation, "OT": _picture}
    check_kind = _parametric_map if is_map(dataset) else by_modality[dataset.Modality]
    yield from check_kind(dataset)


def is_signed(dataset: Dataset) -> bool:
    """Final, verified by somebody with a name, and it says which report was looked at."""
    flags = dataset.get("PreliminaryFlag"), dataset.get("CompletionFlag"), dataset.get("VerificationFlag")
    observers = dataset.get("VerifyingObserverSequence", [])
    named = bool(observers) and all(o.get("VerifyingObserverName") for o in observers)
    return flags == ("FINAL", "COMPLETE", "VERIFIED") and named and "PredecessorDocumentsSequence" in dataset


def is_map(dataset: Dataset) -> bool:
    """A Parametric Map: it has the modality of a picture."""
    return bool(dataset.SOPClassUID == ParametricMapStorage)


def check_map(dataset: Dataset, sources: Sequence[Path]) -> Iterator[str]:
    """It lies on one image that was read, pixel on pixel, and turned as that is."""
    frame = dataset.PerFrameFunctionalGroupsSequence[0]
    named = str(frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
    images = {str(h.SOPInstanceUID): h for h in (dcmread(p, stop_before_pixels=True) for p in sources)}
    source = images.get(named)
    if source is None:
        yield "the map names no image that was read"
        return
    if (dataset.Rows, dataset.Columns) != (source.Rows, source.Columns):
        yield f"the map has {dataset.Rows} x {dataset.Columns} pixels, its image {source.Rows} x {source.Columns}"
    if dataset.FrameOfReferenceUID == source.get("FrameOfReferenceUID"):
        yield "the map claims a place in the image's frame of reference"
    planes = dataset.SharedFunctionalGroupsSequence[0].get("PlaneOrientationSequence", [])
    directions = np.reshape([plane.ImageOrientationPatient for plane in planes] or np.zeros(6), (2, 3))
    letters = ["".join(_LETTERS[axis][int(v > 0)] for axis, v in enumerate(d) if v) for d in directions]
    if letters != [str(word)[0] for word in source.PatientOrientation]:
        yield f"the map's rows and columns run to {letters}, its image's to {source.PatientOrientation}"


def is_accepted(dataset: Dataset) -> bool:
    """A segmentation of what a person accepted: all it can say of that is the description of its series."""
    return dataset.Modality == "SEG" and bool(_REVIEWED.search(dataset.get("SeriesDescription", "")))


def check_accepted(segmentation: Dataset, report: Dataset) -> Iterator[str]:
    """A segmentation of what was accepted holds the structures of the signed report, and no others."""
    held = {s.TrackingUID for s in segmentation.SegmentSequence if s.get("TrackingUID")}
    reported = {_text(group, _TRACKING_UID) for group in groups(report) if children(group, _SEGMENT)}
    if held != reported:
        yield f"the signed report says {len(reported)} structures, its segmentation holds {len(held)}"


def check_tracking(segmentation: Dataset, report: Dataset) -> Iterator[str]:
    """The same structure has the same tracking identity in both, and the report names the segmentation's class."""
    segments = {int(s.SegmentNumber): (s.get("TrackingID"), s.get("TrackingUID")) for s in segmentation.SegmentSequence}
    for group in groups(report):
        for item in children(group, _SEGMENT):
            if item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID != segmentation.SOPInstanceUID:
                yield "the report refers to another segmentation"
            if item.ReferencedSOPSequence[0].ReferencedSOPClassUID != segmentation.SOPClassUID:
                yield "the report refers to a segmentation of another SOP class"
            number = int(item.ReferencedSOPSequence[0].ReferencedSegmentNumber)
            if segments.get(number) != (_text(group, _TRACKING_ID), _text(group, _TRACKING_UID)):
                yield f"segment {number} and the group that refers to it are tracked as two things"


def _report(dataset: Dataset) -> Iterator[str]:
    flags = dataset.get("PreliminaryFlag"), dataset.get("CompletionFlag"), dataset.get("VerificationFlag")
    if not is_signed(dataset) and flags != ("PRELIMINARY", "COMPLETE", "UNVERIFIED"):
        yield f"the report's flags are {flags}"
    if _template(dataset) != "1500":
        yield f"the root says template {_template(dataset)}, not 1500"
    if not children(dataset, _PROCEDURE_REPORTED):
        yield "Procedure Reported is missing"
    yield from _containers(dataset)
    for group in groups(dataset):
        yield from _group(group)


def _group(group: Dataset) -> Iterator[str]:
    if _template(group) not in _GROUP_TEMPLATES:
        yield f"a measurement group says template {_template(group)}"
    for name, meaning in ((_TRACKING_ID, "Tracking Identifier"), (_TRACKING_UID, "Tracking Unique Identifier")):
        if not _text(group, name):
            yield f"a measurement group has no {meaning}"


def _containers(item: Dataset) -> Iterator[str]:
    if item.get("ValueType") == "CONTAINER" and item.get("ContinuityOfContent") != "SEPARATE":
        yield "a container is CONTINUOUS: text renderers will drop the names of its items"
    for child in item.get("ContentSequence", []):
        yield from _containers(child)


def _segmentation(dataset: Dataset) -> Iterator[str]:
    for segment in dataset.SegmentSequence:
        if dataset.get("SegmentationType") == "LABELMAP" and segment.SegmentNumber == 0:
            continue  # the background, which the Standard wants described (PS3.3 C.8.20.2)
        if not segment.get("TrackingID") or not segment.get("TrackingUID"):
            yield f"segment {segment.SegmentNumber} has no tracking identity"


def _picture(dataset: Dataset) -> Iterator[str]:
    if dataset.get("BurnedInAnnotation") != "YES":
        yield "the picture does not say that text is burned in"
    if not dataset.get("SourceImageSequence"):
        yield "the picture does not name its source image"


def _parametric_map(dataset: Dataset) -> Iterator[str]:
    if dataset.get("ContentQualification") != "RESEARCH":
        yield "the map does not say that it is for research"
    if "not reviewed" not in dataset.get("ContentDescription", ""):
        yield "the map's content description does not say that nobody reviewed it"
    (mapping,) = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    quantity = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    if quantity.CodeValue not in _EXPLANATIONS:
        yield f"the map's quantity is {quantity.CodeMeaning!r}, no visual explanation of CID 217"


def _codes(dataset: Dataset) -> Iterator[str]:
    for element in dataset.iterall():
        if element.keyword == "CodeValue" or element.VR != "SQ":
            continue
        for item in element.value:
            yield from _code(item)


def _code(item: Dataset) -> Iterator[str]:
    value, scheme, meaning = (item.get(k) for k in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"))
    if value is None or scheme is None:
        return
    if scheme == "UCUM":
        if value not in _ucum():
            yield f"{value!r} is not a UCUM unit we know"
        return
    known = _meanings().get((str(value), str(scheme)))
    if known and str(meaning).casefold() not in known:
        yield f"code ({value}, {scheme}) means {sorted(known)}, the object calls it {meaning!r}"


@cache
def _meanings() -> dict[tuple[str, str], frozenset[str]]:
    """Meanings of DCM and SCT codes as the Standard's own tables have them, without regard to case."""
    found = {key: {meaning} for key, meaning in _SYNONYMS.items()}
    for scheme in ("DCM", "SCT"):
        collection = getattr(codes, scheme)
        for name in collection.dir():
            code = getattr(collection, name)
            found.setdefault((code.value, scheme), set()).add(code.meaning.casefold())
    return {key: frozenset(meanings) for key, meanings in found.items()}


@cache
def _ucum() -> frozenset[str]:
    return _MORE_UCUM | {getattr(codes.UCUM, name).value for name in codes.UCUM.dir()}


def _text(group: Dataset, name: tuple[str, str]) -> str | None:
    for child in children(group, name):
        return str(child.get("TextValue") or child.get("UID") or "") or None
    return None


def _template(item: Dataset) -> str | None:
    sequence = item.get("ContentTemplateSequence")
    return str(sequence[0].TemplateIdentifier) if sequence else None
