"""Read result objects as a stranger would: from the files alone, with the attributes of the Standard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from highdicom import VolumeGeometry
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, segread
from highdicom.sr import MeasurementReport, srread
from pydicom import Dataset

from wetread.errors import OutputInvalid
from wetread.records.coded import CodedTerm
from wetread.records.finding import Measurement, Segment
from wetread.records.volume import LabelMap, Volume

_SAME_PLACE_MM = 1e-3
_ROLES = {"123037004": "anatomy", "91723000": "anatomy"}
"""Segmented Property Categories for normal structures: Anatomical Structure and its retired code."""


def read_segmentation(path: Path, volume: Volume) -> LabelMap:
    """The mask of a SEG on the grid of ``volume``; values are Segment Numbers.

    Frames are put where their Plane Position says (PS3.3 C.7.6.16.2.3), not where they stand in the file.
    Raises: ``OutputInvalid`` when the SEG does not lie on the volume's grid, or its segments overlap.
    """
    segmentation = segread(path)
    if segmentation.get("SegmentsOverlap") == "YES":
        raise OutputInvalid(f"{path.name} holds segments that overlap; one label map cannot say where they are")
    grid = VolumeGeometry(
        affine=volume.affine,
        spatial_shape=volume.array.shape,
        coordinate_system="PATIENT",
        frame_of_reference_uid=volume.frame_of_reference_uid,
    )
    try:
        mask = segmentation.get_volume(combine_segments=True, dtype=np.uint8).match_geometry(grid, tol=_SAME_PLACE_MM)
    except (RuntimeError, ValueError) as exc:
        raise OutputInvalid(f"{path.name} does not lie on the grid of {volume.series.label}: {exc}") from exc
    array: npt.NDArray[np.uint8] = np.ascontiguousarray(mask.array)
    return LabelMap(array, volume.affine)


def read_findings(segmentation_path: Path, report_path: Path, label_map: LabelMap) -> tuple[Segment, ...]:
    """The segments with the measurements that the report gives for them; they belong together by Tracking UID."""
    measured = dict(_measurements(srread(report_path).content))
    return tuple(_findings(segread(segmentation_path), measured, label_map))


def _findings(
    segmentation: Segmentation, measured: Mapping[str, tuple[Measurement, ...]], label_map: LabelMap
) -> Iterator[Segment]:
    for segment in segmentation.SegmentSequence:
        if segment.SegmentNumber == 0:
            continue  # the background of a label map
        category = _term(segment.SegmentedPropertyCategoryCodeSequence[0])
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        sides = kind.get("SegmentedPropertyTypeModifierCodeSequence", [])
        red, green, blue = CIELabColor.from_dicom_value(list(segment.RecommendedDisplayCIELabValue)).to_rgb()
        yield Segment(
            label_value=int(segment.SegmentNumber),
            name=str(segment.SegmentLabel),
            role=_ROLES.get(category.value, "finding"),
            category=category,
            type=_term(kind),
            laterality=_term(sides[0]) if sides else None,
            colour_rgb=(int(red), int(green), int(blue)),
            voxel_count=int(np.count_nonzero(label_map.array == segment.SegmentNumber)),
            measurements=measured.get(str(segment.TrackingUID), ()),
            tracking_id=str(segment.TrackingID),
            tracking_uid=str(segment.TrackingUID),
        )


def _measurements(report: MeasurementReport) -> Iterator[tuple[str, tuple[Measurement, ...]]]:
    """Tracking UID and measurements of each group that refers to a segment (TID 1411)."""
    for group in report.get_volumetric_roi_measurement_groups():
        yield (
            str(group.tracking_uid),
            tuple(Measurement(_term(m.name), float(m.value), _term(m.unit)) for m in group.get_measurements()),
        )


def _term(code: Dataset) -> CodedTerm:
    return CodedTerm(str(code.CodeValue), str(code.CodingSchemeDesignator), str(code.CodeMeaning))
