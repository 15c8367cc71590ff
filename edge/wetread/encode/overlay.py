"""Overlay pictures: key slices with outlines as Secondary Capture, for viewers that show nothing else (PS3.3 A.8)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
from highdicom.sc import SCImage
from PIL.Image import Image
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from wetread.encode.card import film_card
from wetread.encode.codes import code_item
from wetread.encode.context import Draft
from wetread.encode.key_slices import choose_key_slices
from wetread.encode.marks import marks_on_slice
from wetread.encode.planes import patient_direction
from wetread.encode.provenance import MANUFACTURER, finish, local_time, series_number, software_versions
from wetread.encode.render import (
    NOT_FOR_CLINICAL_USE,
    NOT_REVIEWED,
    OUTSIDE,
    RESEARCH_ONLY,
    Window,
    render,
    slice_plane,
    window_of,
)
from wetread.encode.text import text_line
from wetread.records.output import Boxes, Scores
from wetread.records.radiograph import Radiograph
from wetread.records.volume import Volume

KIND = "SC"


def encode_overlays(draft: Draft) -> Iterator[Dataset]:
    """One picture for each key slice, ordered by position; the middle slice if there is nothing to draw. One card of a
    film; nothing of what was not read."""
    image, reading = draft.context.image, draft.context.reading
    if isinstance(image, Radiograph):
        card = film_card(image, reading, draft.context.heat_maps, banner=_banner(draft), footer=_footer(draft, 0))
        yield _secondary_capture(draft, 0, card, image.patient_orientation)
    if not isinstance(image, Volume):
        return
    window = _window(draft)
    for index in choose_key_slices(reading, len(draft.headers)):
        plane = slice_plane(image, index, marks_on_slice(reading, index))
        banner, footer = _banner(draft), _footer(draft, index)
        picture = render(plane, reading.findings, window=window, banner=banner, footer=footer)
        right, down = (patient_direction(d) for d in (plane.row_direction, plane.column_direction))
        yield _secondary_capture(draft, index, picture, (right, down))


def _secondary_capture(draft: Draft, index: int, picture: Image, orientation: tuple[str, str]) -> Dataset:
    """``orientation``: Patient Orientation of the picture; two empty words where nobody knows."""
    algorithm = draft.context.reading.algorithm
    image = SCImage.from_ref_dataset(
        draft.headers[0],
        np.asarray(picture),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=draft.uids.series(KIND),
        series_number=series_number(draft, KIND),
        sop_instance_uid=draft.uids.instance(KIND, str(index)),
        instance_number=index + 1,
        manufacturer=MANUFACTURER,
        patient_orientation=("L", "P"),  # highdicom knows single letters only; replaced below
        transfer_syntax_uid=ExplicitVRLittleEndian,
        manufacturer_model_name=text_line(algorithm.bundle_name, 64),
        software_versions=software_versions(algorithm),
        device_serial_number=algorithm.weights_digest,
        specific_character_set="ISO_IR 192",
    )
    image.PatientOrientation = list(orientation) if all(orientation) else None
    _describe(image, draft, index)
    return finish(image, draft, KIND)


def _describe(image: SCImage, draft: Draft, index: int) -> None:
    """What highdicom leaves out or fixes otherwise."""
    image.copy_patient_and_study_information(draft.headers[0])
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ConversionType = "WSD"  # workstation, not digital interface (PS3.3 C.8.6.1)
    image.BurnedInAnnotation = "YES"
    _set_capture_time(image, local_time(draft))
    image.DerivationDescription = f"Windowed to 8 bit, {_drawn(draft)} and banner drawn in"
    if draft.segments:
        image.DerivationCodeSequence = [code_item(codes.DCM.Segmentation)]
    image.SourceImageSequence = [_source_image(draft.headers[index])]
    if draft.headers[index].get("LossyImageCompression") == "01":
        image.LossyImageCompression = "01"  # once lossy, always lossy (PS3.3 C.7.6.1.1.5)


def _drawn(draft: Draft) -> str:
    output = draft.context.reading.output
    if isinstance(output, Scores):
        return "AI scores, heat map" if draft.context.heat_maps else "AI scores"
    return "AI boxes, legend" if isinstance(output, Boxes) else "outlines of AI segments, legend"


def _set_capture_time(image: SCImage, when: datetime) -> None:
    image.DateOfSecondaryCapture = when.strftime("%Y%m%d")
    image.TimeOfSecondaryCapture = when.strftime("%H%M%S.%f")


def _source_image(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [code_item(codes.DCM.SourceImageForImageProcessingOperation)]
    return item


def _banner(draft: Draft) -> tuple[str, ...]:
    film = isinstance(draft.context.image, Radiograph)
    research = () if draft.context.manifest.clinical_use else (NOT_FOR_CLINICAL_USE if film else RESEARCH_ONLY,)
    return NOT_REVIEWED, *research, *((OUTSIDE,) if draft.context.reading.outside else ())


def _footer(draft: Draft, index: int) -> str:
    algorithm = draft.context.reading.algorithm
    place = f"slice {index + 1} of {len(draft.headers)}"
    if isinstance(draft.context.image, Radiograph):
        place = f"film {draft.headers[0].get('InstanceNumber') or ''}".rstrip()
    return f"{algorithm.title}  -  {algorithm.bundle_name} {algorithm.bundle_version}  -  {place}"


def _window(draft: Draft) -> Window:
    """The source's own window (PS3.3 C.11.2.1.2.1) of the middle slice, for the whole series; else percentiles."""
    header = draft.headers[len(draft.headers) // 2]
    centre, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    if centre is None or width is None or width <= 1:
        return window_of(draft.volume.array)
    low = centre - 0.5 - (width - 1) / 2
    high = centre - 0.5 + (width - 1) / 2
    return Window(low, high)


def _first(value: Any) -> float | None:
    """The first of one or several decimal strings, or None if it is no number."""
    values = list(value) if isinstance(value, MultiValue) else [value]
    try:
        return float(values[0])
    except (IndexError, TypeError, ValueError):
        return None
