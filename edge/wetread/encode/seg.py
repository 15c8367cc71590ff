"""Segmentation object: one segment for each structure, BINARY or as a label map, on the source grid (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence, seg
from highdicom.color import CIELabColor
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from wetread.encode.codes import ARTIFICIAL_INTELLIGENCE, concept
from wetread.encode.context import Draft
from wetread.encode.provenance import MANUFACTURER, finish, series_number, software_versions
from wetread.encode.text import text_line
from wetread.records.finding import Segment
from wetread.records.output import Masks, ModelOutput, Segmentation
from wetread.records.reading import AlgorithmIdentity
from wetread.records.result import Rendition
from wetread.records.volume import LabelMap

KIND = "SEG"

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage; pydicom 3.0 does not know it yet."""


def segmentation_class(output: ModelOutput, rendition: Rendition) -> str:
    """SOP class of the SEG in this rendition: a label map says one structure for each voxel (PS3.3 C.8.20.2.3)."""
    modern = rendition is Rendition.MODERN and not overlap(output)
    return LABEL_MAP_STORAGE if modern else str(SegmentationStorage)


def overlap(output: ModelOutput) -> bool:
    """Whether any voxel belongs to two structures; slice by slice, because masks are large."""
    return isinstance(output, Masks) and any(
        bool((np.count_nonzero(output.array[:, index], axis=0) > 1).any()) for index in range(output.array.shape[1])
    )


def encode_segmentation(draft: Draft) -> Iterator[Dataset]:
    """One SEG, or none when no structure was found: highdicom would encode every frame of an empty mask."""
    output = draft.context.reading.output
    if not isinstance(output, LabelMap | Masks) or not draft.segments:
        return
    algorithm = draft.context.reading.algorithm
    as_label_map = draft.segmentation_class_uid == LABEL_MAP_STORAGE
    segmentation = seg.Segmentation(
        source_images=draft.headers,
        pixel_array=_pixels(output, draft.segments, as_label_map=as_label_map),
        segmentation_type="LABELMAP" if as_label_map else "BINARY",
        segment_descriptions=[_describe(f, number, algorithm) for number, f in enumerate(draft.segments, start=1)],
        series_instance_uid=draft.uids.series(KIND),
        series_number=series_number(draft, KIND),
        sop_instance_uid=draft.uids.instance(KIND),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=text_line(algorithm.bundle_name, 64),
        software_versions=software_versions(algorithm),
        device_serial_number=algorithm.weights_digest,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
        content_label="AI_RESULT",
        content_description=text_line(f"{algorithm.title}, not reviewed", 64),
        specific_character_set="ISO_IR 192",
    )
    pin_dimension_organization(segmentation, draft.uids.instance(KIND, "dimensions"))
    yield finish(segmentation, draft, KIND)


def _pixels(
    output: Segmentation, segments: tuple[Segment, ...], *, as_label_map: bool
) -> npt.NDArray[np.uint8] | npt.NDArray[np.bool_]:
    """What highdicom encodes: segment numbers ``(slice, row, column)``, or masks ``(slice, row, column, segment)``.

    A stack of masks is passed as a view: copies of it would be larger than all else in memory.
    """
    if isinstance(output, LabelMap):
        numbers = np.zeros(256, np.uint8)
        for number, segment in enumerate(segments, start=1):
            numbers[segment.label_value] = number
        return numbers[output.array]
    places = [segment.label_value - 1 for segment in segments]
    if as_label_map:
        merged = np.zeros(output.array.shape[1:], np.uint8)
        for number, place in enumerate(places, start=1):
            merged[output.array[place]] = number
        return merged
    all_found = len(places) == len(output.array)
    return np.moveaxis(output.array if all_found else output.array[places], 0, -1)


def _describe(finding: Segment, number: int, algorithm: AlgorithmIdentity) -> seg.SegmentDescription:
    description = seg.SegmentDescription(
        segment_number=number,
        segment_label=text_line(finding.name, 64),
        segmented_property_category=concept(finding.category),
        segmented_property_type=concept(finding.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=text_line(algorithm.bundle_name, 64),
            version=text_line(algorithm.bundle_version, 64),
            family=ARTIFICIAL_INTELLIGENCE,
        ),
        tracking_id=finding.tracking_id,
        tracking_uid=finding.tracking_uid,
        anatomic_regions=[concept(finding.site)] if finding.site else None,
        display_color=CIELabColor.from_rgb(*finding.colour_rgb),
    )
    if finding.laterality:
        # highdicom has no argument for it; without it left and right organs carry the same code (PS3.3 C.8.20.2).
        property_type = description.SegmentedPropertyTypeCodeSequence[0]
        property_type.SegmentedPropertyTypeModifierCodeSequence = [concept(finding.laterality)]
    return description


def pin_dimension_organization(dataset: Dataset, uid: str) -> None:
    """highdicom draws a new Dimension Organization UID for each object; ours follows from the content."""
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for item in dataset.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid
