"""Segmentation object: one BINARY segment for each structure found, on the source grid (PS3.3 A.51)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from wetread.encode.codes import ARTIFICIAL_INTELLIGENCE, concept
from wetread.encode.context import Draft
from wetread.encode.provenance import MANUFACTURER, finish, series_number, software_versions
from wetread.encode.text import text_line
from wetread.records.finding import Finding
from wetread.records.reading import AlgorithmIdentity

KIND = "SEG"


def encode_segmentation(draft: Draft) -> Iterator[Dataset]:
    """One SEG, or none when no structure was found: highdicom would encode every frame of an empty mask."""
    if not draft.found:
        return
    algorithm = draft.context.reading.algorithm
    segmentation = Segmentation(
        source_images=draft.headers,
        pixel_array=_segment_numbers(draft),
        segmentation_type="BINARY",
        segment_descriptions=[_describe(f, number, algorithm) for number, f in enumerate(draft.found, start=1)],
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
    _pin_dimension_organization(segmentation, draft.uids.instance(KIND, "dimensions"))
    yield finish(segmentation, draft, KIND)


def _segment_numbers(draft: Draft) -> npt.NDArray[np.uint8]:
    """The label map with each label's value replaced by its Segment Number."""
    numbers = np.zeros(256, np.uint8)
    for number, finding in enumerate(draft.found, start=1):
        numbers[finding.label_value] = number
    return numbers[draft.context.reading.label_map.array]


def _describe(finding: Finding, number: int, algorithm: AlgorithmIdentity) -> SegmentDescription:
    description = SegmentDescription(
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
        display_color=CIELabColor.from_rgb(*finding.colour_rgb),
    )
    if finding.laterality:
        # highdicom has no argument for it; without it left and right organs carry the same code (PS3.3 C.8.20.2).
        property_type = description.SegmentedPropertyTypeCodeSequence[0]
        property_type.SegmentedPropertyTypeModifierCodeSequence = [concept(finding.laterality)]
    return description


def _pin_dimension_organization(segmentation: Dataset, uid: str) -> None:
    """highdicom draws a new Dimension Organization UID for each object; ours follows from the content."""
    segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for item in segmentation.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid
