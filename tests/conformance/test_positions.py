"""Where a structure lies in the patient is the same in phantom, SEG, SC and SR, whatever the slices.

The truth is the phantom's own array and affine; readers are highdicom's and dcmqi's, never ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset, dcmread
from scipy import ndimage

from bundles import KIDNEYS, boxed
from conformance.cases import CASES, Case, boxes_round_objects, read_case
from conformance.outside import read_segmentation
from phantoms import Phantom, centroid_mm
from wetread.encode.layout import Layout
from wetread.encode.render import slice_plane
from wetread.records.finding import Detection
from wetread.records.result import Rendition

SERIES: dict[str, dict[str, Any]] = {
    "axial": {},
    "coronal": {"orientation": "coronal"},
    "sagittal": {"orientation": "sagittal"},
    "oblique": {"orientation": "oblique"},
    "reversed": {"reverse": True},
    "oblique reversed": {"orientation": "oblique", "reverse": True},
    "in numbered order": {"orientation": "oblique", "shuffle_instance_numbers": False},
}


@pytest.fixture(scope="module", params=product(SERIES, Rendition), ids="-".join)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The phantom's two ellipsoids as segments 1 and 2."""
    name, rendition = request.param
    return read_case(tmp_path_factory.mktemp("geometry"), KIDNEYS, **SERIES[name], rendition=rendition)


def _masks(phantom: Phantom) -> list[npt.NDArray[np.bool_]]:
    return [phantom.array == phantom.large_value, phantom.array == phantom.small_value]


def _half_voxel_mm(phantom: Phantom) -> float:
    return float(np.linalg.norm(phantom.affine[:3, :3], axis=0).min()) / 2


def test_segmentation_is_where_the_object_is_for_highdicoms_reader(case: Case) -> None:
    segmentation = hd.seg.segread(case.paths("SEG")[0])
    volume = segmentation.get_volume(combine_segments=True)
    for number, mask in enumerate(_masks(case.phantom), start=1):
        found = centroid_mm(volume.array == number, volume.affine)
        expected = centroid_mm(mask, case.phantom.affine)
        assert np.linalg.norm(found - expected) < _half_voxel_mm(case.phantom)
        assert int((volume.array == number).sum()) == int(mask.sum())


def test_segments_lie_where_the_phantom_was_drawn(case: Case) -> None:
    volume = hd.seg.segread(case.paths("SEG")[0]).get_volume(combine_segments=True)
    slack = float(np.linalg.norm(case.phantom.affine[:3, :3], axis=0).max()) / 2
    for number, centre in enumerate((case.phantom.large_centre_mm, case.phantom.small_centre_mm), start=1):
        assert np.abs(centroid_mm(volume.array == number, volume.affine) - np.array(centre)).max() < slack


def test_every_frame_points_at_the_source_image_it_lies_on(case: Case) -> None:
    sources = {h.SOPInstanceUID: h for h in _headers(case.sources)}
    segmentation = dcmread(case.paths("SEG")[0])
    frames = segmentation.PerFrameFunctionalGroupsSequence
    slices = np.array([m.any(axis=(1, 2)) for m in _masks(case.phantom)])
    as_label_map = segmentation.SegmentationType == "LABELMAP"  # one frame holds all structures of a slice
    assert len(frames) == int((slices.any(axis=0) if as_label_map else slices).sum())
    for frame in frames:
        reference = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        position = [float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient]
        assert position == pytest.approx([float(v) for v in sources[reference].ImagePositionPatient], abs=1e-3)


def test_dcmqi_reads_the_same_mask_voxel_for_voxel_on_the_source_grid(case: Case, tmp_path: Path) -> None:
    code, text = read_segmentation(case.paths("SEG")[0], tmp_path)
    assert code == 0, text
    image = nibabel.load(tmp_path / "1.nii.gz")
    grid = _on_source_grid(np.asarray(image.dataobj), np.diag((-1.0, -1.0, 1.0, 1.0)) @ image.affine, case.phantom)
    assert np.array_equal(grid, case.context.reading.output.array)


def _on_source_grid(
    array: npt.NDArray[Any], affine: npt.NDArray[np.float64], phantom: Phantom
) -> npt.NDArray[np.uint8]:
    """Put each voxel where its position says; a position between two source voxels fails.

    dcmqi leaves out slices without any segment, so its array may be smaller than the source.
    """
    positions = np.moveaxis(np.indices(array.shape), 0, -1).reshape(-1, 3) @ affine[:3, :3].T + affine[:3, 3]
    inverse = np.linalg.inv(phantom.affine)
    exact = positions @ inverse[:3, :3].T + inverse[:3, 3]
    index = np.rint(exact).astype(int)
    assert np.abs(exact - index).max() < 0.01
    grid = np.zeros(phantom.array.shape, np.uint8)
    grid[tuple(index.T)] = array.reshape(-1)
    return grid


def test_outlines_in_the_pictures_are_where_the_objects_are(case: Case) -> None:
    sources = {h.SOPInstanceUID: h for h in _headers(case.sources)}
    seen = 0
    for path in case.paths("SC"):
        picture = dcmread(path)
        source = sources[picture.SourceImageSequence[0].ReferencedSOPInstanceUID]
        index = int(picture.InstanceNumber) - 1
        layout = slice_plane(case.context.image, index).layout()
        for finding, mask in zip(case.context.reading.findings, _masks(case.phantom), strict=True):
            outline = _enclosed(picture.pixel_array, finding.colour_rgb, layout)
            only_here = np.zeros_like(mask)
            only_here[index] = mask[index]
            assert bool(outline.size) == bool(only_here.any())
            if outline.size:
                expected = centroid_mm(only_here, case.phantom.affine)
                assert np.linalg.norm(_position_mm(source, outline) - expected) < _half_voxel_mm(case.phantom)
                seen += 1
    assert seen >= 3


def _enclosed(pixels: npt.NDArray[np.uint8], colour: tuple[int, int, int], layout: Layout) -> npt.NDArray[np.float64]:
    """Source ``(row, column)`` of every picture pixel on or inside that colour's outline, without the legend."""
    image = pixels[: layout.top + layout.height]
    filled = ndimage.binary_fill_holes((image == colour).all(axis=-1))
    return np.array([layout.canvas_to_source(x, y) for y, x in np.argwhere(filled)])


def _position_mm(source: Dataset, pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean position of source pixels by the source image's own header (PS3.3 C.7.6.2.1.1)."""
    row, column = pixels.mean(axis=0)
    along_row, along_column = np.array(source.ImageOrientationPatient, float).reshape(2, 3)
    row_mm, column_mm = (float(v) for v in source.PixelSpacing)
    origin = np.array(source.ImagePositionPatient, float)
    return origin + along_row * column * column_mm + along_column * row * row_mm


@pytest.mark.parametrize("name", SERIES)
def test_boxes_in_report_and_picture_are_where_the_objects_are(name: str, tmp_path: Path) -> None:
    case = read_case(tmp_path, answer=boxes_round_objects, manifest=boxed(), **SERIES[name])
    sources = {h.SOPInstanceUID: h for h in _headers(case.sources)}
    groups = hd.sr.srread(case.paths("SR")[0]).content.get_planar_roi_measurement_groups()
    large, small = _masks(case.phantom)
    for group, mask in zip(groups, (large, small), strict=True):
        source = sources[group.roi.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID]
        points = group.roi.value - 0.5  # (column, row); the centre of the first pixel is 0.5, 0.5 (PS3.3 C.18.6.1.2)
        found = _position_mm(source, points[:4, ::-1])
        places = np.argwhere(mask)
        expected = case.phantom.affine @ [*(places.min(axis=0) + places.max(axis=0)) / 2, 1.0]
        # Along the normal the box of an even number of slices has no slice in its middle.
        normal = case.phantom.affine[:3, 0] / np.linalg.norm(case.phantom.affine[:3, 0])
        away = found - expected[:3]
        assert abs(away @ normal) <= np.linalg.norm(case.phantom.affine[:3, 0]) / 2 + 1e-6
        assert np.linalg.norm(away - normal * (away @ normal)) < 1e-3
        _, rows, columns = places.max(axis=0) - places.min(axis=0) + 1
        _, row_mm, column_mm = np.linalg.norm(case.phantom.affine[:3, :3], axis=0)
        diameter, _ = group.get_measurements()
        assert diameter.value == pytest.approx(max(rows * row_mm, columns * column_mm), rel=1e-6)
    _check_rectangles(case, (large, small))


def _check_rectangles(case: Case, masks: Sequence[npt.NDArray[np.bool_]]) -> None:
    detections = [f for f in case.context.reading.findings if isinstance(f, Detection)]
    for path in case.paths("SC"):
        picture = dcmread(path)
        index = int(picture.InstanceNumber) - 1
        layout = slice_plane(case.context.image, index).layout()
        for detection, mask in zip(detections, masks, strict=True):
            if not detection.low[0] <= index <= detection.high[0]:
                continue
            inside = _enclosed(_largest_of(picture.pixel_array, detection.colour_rgb), (1, 1, 1), layout)
            shadow = np.argwhere(mask.any(axis=0))
            assert inside.min(axis=0) == pytest.approx(shadow.min(axis=0) - 0.5, abs=0.15)
            assert inside.max(axis=0) == pytest.approx(shadow.max(axis=0) + 0.5, abs=0.15)


def _largest_of(pixels: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """(1, 1, 1) where the largest connected thing of that colour is, the box, and not its caption."""
    things, _ = ndimage.label((pixels == colour).all(axis=-1), structure=np.ones((3, 3)))
    largest = things == np.bincount(things[things > 0]).argmax()
    return np.repeat(largest[..., None], 3, axis=2).astype(np.uint8)


def test_overlapping_masks_come_back_voxel_for_voxel(tmp_path: Path) -> None:
    case = read_case(tmp_path, **CASES["overlap"], orientation="oblique", reverse=True)
    segmentation = hd.seg.segread(case.paths("SEG")[0])
    volume = segmentation.get_volume(combine_segments=False)
    expected = case.context.reading.output.array
    assert segmentation.SegmentsOverlap == "YES"
    for number in (1, 2, 3):
        found = np.argwhere(volume.array[..., number - 1])
        inverse = np.linalg.inv(case.phantom.affine) @ volume.affine
        places = found @ inverse[:3, :3].T + inverse[:3, 3]
        grid = np.zeros(expected.shape[1:], bool)
        grid[tuple(np.rint(places).astype(int).T)] = True
        assert np.abs(places - np.rint(places)).max() < 0.01
        assert np.array_equal(grid, expected[number - 1])


def test_report_measures_the_object_and_refers_to_its_segment(case: Case) -> None:
    report = hd.sr.srread(case.paths("SR")[0])
    segmentation = dcmread(case.paths("SEG")[0], stop_before_pixels=True)
    groups = report.content.get_volumetric_roi_measurement_groups()
    voxel_ml = abs(np.linalg.det(case.phantom.affine[:3, :3])) / 1000
    assert len(groups) == 2
    segments = [s for s in segmentation.SegmentSequence if s.SegmentNumber]
    for group, mask, segment in zip(groups, _masks(case.phantom), segments, strict=True):
        (volume,) = group.get_measurements()
        reference = group.referenced_segment
        assert volume.value == pytest.approx(mask.sum() * voxel_ml, rel=1e-6)
        assert volume.unit.value == "mL"
        assert group.tracking_uid == segment.TrackingUID
        assert reference.referenced_sop_class_uid == segmentation.SOPClassUID
        assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert reference.referenced_segment_numbers == [segment.SegmentNumber]


def _headers(paths: list[Path]) -> list[Dataset]:
    return [dcmread(path, stop_before_pixels=True) for path in paths]
