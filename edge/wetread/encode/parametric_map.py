"""Parametric Map: a heat map's own numbers, on the film's pixels, for programs that compute with it (PS3.3 A.75)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator

import numpy as np
from highdicom import VOILUTTransformation, pm
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from wetread.encode.codes import code_item
from wetread.encode.context import Draft, EncodeContext
from wetread.encode.provenance import MANUFACTURER, finish, series_number, software_versions
from wetread.encode.seg import pin_dimension_organization
from wetread.encode.text import text_line
from wetread.encode.uids import derived_uid
from wetread.records.heat_map import HeatMap
from wetread.records.radiograph import Radiograph

KIND = "PM"

_QUANTITIES = {
    "Grad-CAM": codes.DCM.GradientWeightedClassActivation,
    "Grad-CAM++": codes.DCM.GradientWeightedClassActivation,
}
"""By method; any other gives Saliency. All of CID 218."""


_DIRECTIONS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
"""LPS; the first letter of Patient Orientation is the main one (PS3.3 C.7.6.1.1.1)."""


def encode_parametric_maps(draft: Draft) -> Iterator[Dataset]:
    """One object for each heat map, where the bundle or the route asks for them; see ``parametric_map_problem``.

    The matrix is the film's own, float32: the film has no Frame of Reference in which a smaller one could be placed, so
    programs can only lay pixel on pixel.
    """
    film = draft.context.image
    if not wanted(draft.context) or not isinstance(film, Radiograph) or parametric_map_problem(film):
        return
    for number, heat_map in enumerate(draft.context.heat_maps, start=1):
        yield _parametric_map(draft, film, heat_map, number)


def wanted(context: EncodeContext) -> bool:
    """Whether bundle or route asks for the maps."""
    rule = context.manifest.explain
    return context.spec.options.parametric_maps or (rule is not None and rule.parametric_map)


def parametric_map_problem(film: Radiograph) -> str:
    """What the film does not say and the object must (PS3.3 A.75: Plane Orientation, Pixel Measures), as a sentence; ''
    when it can be written. Nothing is made up."""
    right, down = (np.array(_DIRECTIONS.get(letters[:1], (0, 0, 0))) for letters in film.patient_orientation)
    if not np.cross(right, down).any():
        return "no Parametric Map: the film does not say how it lies in the patient (Patient Orientation)"
    return "" if film.spacing_mm else "no Parametric Map: the film does not say its pixel spacing"


def _parametric_map(draft: Draft, film: Radiograph, heat_map: HeatMap, number: int) -> Dataset:
    algorithm = draft.context.reading.algorithm
    content = hashlib.sha256(heat_map.array.tobytes()).hexdigest()
    dataset = pm.ParametricMap(
        source_images=[_source(draft, film)],
        pixel_array=heat_map.array,
        series_instance_uid=draft.uids.series(KIND),
        series_number=series_number(draft, KIND),
        sop_instance_uid=draft.uids.instance(KIND, f"{heat_map.tracking_uid} {content}"),
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=text_line(algorithm.bundle_name, 64),
        software_versions=software_versions(algorithm),
        device_serial_number=algorithm.weights_digest,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_mapping(heat_map)],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        image_flavor="STATIC",
        content_label="AI_HEAT_MAP",
        content_description=text_line(f"{_explained(draft, heat_map)}, not reviewed", 64),
        content_qualification="RESEARCH",
        specific_character_set="ISO_IR 192",
    )
    pin_dimension_organization(dataset, draft.uids.instance(KIND, f"{heat_map.tracking_uid} dimensions"))
    _describe(dataset, draft, film, heat_map)
    finish(dataset, draft, KIND)
    _set_anatomy(dataset, film)
    return dataset


def _source(draft: Draft, film: Radiograph) -> Dataset:
    """The film's header with a place: a plane in a Frame of Reference of its own, whose origin is its first pixel.

    The object must lie somewhere, a film lies nowhere. No image has this Frame of Reference, so nothing is claimed but
    how the film's rows and columns run in the patient and how far apart they are.
    """
    source = copy.deepcopy(draft.headers[0])
    source.FrameOfReferenceUID = derived_uid("frame of reference", film.instance.sop_instance_uid)
    source.PositionReferenceIndicator = ""
    source.ImagePositionPatient = [0, 0, 0]
    source.ImageOrientationPatient = _orientation(film)
    source.PixelSpacing = list(film.turn.spacing(film.spacing_mm or (1.0, 1.0)))
    source.SliceThickness = None
    source.pop("SpacingBetweenSlices", None)
    return source


def _orientation(film: Radiograph) -> list[int]:
    """Image Orientation (Patient) of the stored matrix: a film as it hangs, taken down."""
    right, down = (np.array(_DIRECTIONS[letters[0]]) for letters in film.patient_orientation)
    right = -right if film.turn.reverse_columns else right
    down = -down if film.turn.reverse_rows else down
    pair = (down, right) if film.turn.transpose else (right, down)
    return [int(value) for direction in pair for value in direction]


def _mapping(heat_map: HeatMap) -> pm.RealWorldValueMapping:
    return pm.RealWorldValueMapping(
        lut_label="HEAT_MAP",
        lut_explanation=text_line(f"{heat_map.method}: share of the largest value on this film", 64),
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=code_item(_QUANTITIES.get(heat_map.method, codes.DCM.Saliency)),
    )


def _explained(draft: Draft, heat_map: HeatMap) -> str:
    names = {finding.tracking_uid: finding.name for finding in draft.context.reading.findings}
    return f"{heat_map.method} of {names.get(heat_map.tracking_uid, 'the score')}"


def _describe(dataset: Dataset, draft: Draft, film: Radiograph, heat_map: HeatMap) -> None:
    """How it was derived, in words (PS3.3 C.7.6.16.2.6)."""
    shared, frame = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence[0]
    del shared.PixelMeasuresSequence[0].SpacingBetweenSlices  # highdicom writes 1 mm; there is one plane
    said = [f"What moved the score of the model, no outline of a finding: {_explained(draft, heat_map)}"]
    said += heat_map.parameters
    if film.spacing_from == "ImagerPixelSpacing":
        said.append("pixel spacing as at the detector, not in the patient")
    frame.DerivationImageSequence[0].DerivationDescription = text_line("; ".join(said), 1024)


def _set_anatomy(dataset: Dataset, film: Radiograph) -> None:
    """Frame Anatomy (PS3.3 C.7.6.16.2.8) of the body part, where CID 4031 has it: dcmqi, and so 3D Slicer, crashes on a
    map without it. A film that names no side shows something unpaired (C.7.3.1)."""
    region = getattr(codes.cid4031, str(dataset.get("BodyPartExamined", "")).title(), None)
    if region is None:
        return
    item = Dataset()
    item.AnatomicRegionSequence = [code_item(region)]
    item.FrameLaterality = film.laterality or "U"
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [item]
