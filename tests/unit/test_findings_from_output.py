"""Masks, scores and boxes become findings: coded, measured, called, and refused when they break the manifest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import KIDNEYS, TUMOUR, boxed, scored, write_bundle
from wetread.bundles import Bundle
from wetread.errors import OutputInvalid
from wetread.findings.from_boxes import read_boxes
from wetread.findings.from_output import read_output
from wetread.findings.summary import summarize
from wetread.records.finding import Condition, Detection, Evaluation, Segment, Undetected
from wetread.records.output import Box, Boxes, Masks, ModelOutput, Scores, mask_on_slice, slice_areas
from wetread.records.reading import EngineIdentity, Reading
from wetread.records.study import SeriesRef
from wetread.records.volume import LabelMap, Volume
from wetread.service.offline_nifti import _write_segmentation

ENGINE = EngineIdentity("openvino", "f32", "2026.4", "CPU", "c0ffee")
AFFINE = np.array([[0.0, 0.1, 1.1, -30.0], [0.2, 0.9, -0.1, 12.5], [2.5, 0.0, 0.0, 7.0], [0.0, 0.0, 0.0, 1.0]])
SHAPE = (4, 5, 6)
VOLUME = Volume(np.zeros(SHAPE, np.float32), AFFINE, SeriesRef("1.2.3", "CT", ()), (), "1.2.4")
OVERLAPPING = {"overlapping": True}


def _read(folder: Path, output: ModelOutput, *labels: dict[str, Any], **manifest: Any) -> Reading:
    bundle = write_bundle(folder / "bundle", *labels, **manifest)
    return read_output(output, VOLUME, bundle=bundle, engine=ENGINE, decided_at=datetime(2026, 1, 1, tzinfo=UTC))


def _masks(*counts: int, affine: Any = AFFINE) -> Masks:
    """Masks of so many voxels each, all from the first voxel on."""
    array = np.zeros((len(counts), math.prod(SHAPE)), bool)
    for mask, count in zip(array, counts, strict=True):
        mask[:count] = True
    return Masks(array.reshape(len(counts), *SHAPE), affine)


def _box(low: Sequence[float], high: Sequence[float], score: float = 0.8, label: int = 0) -> Boxes:
    return Boxes((Box((*low,), (*high,), score, label),), AFFINE)  # type: ignore[arg-type]


SMALL = ((0.5, 0.5, 1.5), (2.5, 3.5, 3.5))


# Masks


def test_overlapping_structures_are_counted_each_for_itself(tmp_path: Path) -> None:
    reading = _read(tmp_path, _masks(7, 20, 0), *TUMOUR, **OVERLAPPING)
    core, whole, enhancing = reading.findings
    assert isinstance(core, Segment)
    assert isinstance(whole, Segment)
    assert (core.label_value, core.voxel_count, whole.label_value, whole.voxel_count) == (1, 7, 2, 20)
    assert whole.measurements[0].value == pytest.approx(20 * abs(np.linalg.det(AFFINE)) / 1000)
    assert [f.evaluation for f in (core, enhancing)] == [Evaluation.PRESENT, Evaluation.ABSENT]


def test_masks_belong_to_labels_by_their_order_whatever_the_values(tmp_path: Path) -> None:
    second_first = (KIDNEYS[1], KIDNEYS[0])
    reading = _read(tmp_path, _masks(3, 9), *second_first, **OVERLAPPING)
    assert [(f.name, f.voxel_count) for f in reading.findings] == [("Right kidney", 3), ("Left kidney", 9)]  # type: ignore[union-attr]
    for finding in reading.findings:
        assert isinstance(finding, Segment)
        shown = sum(mask_on_slice(_masks(3, 9), finding.label_value, k).sum() for k in range(SHAPE[0]))
        assert shown == finding.voxel_count


def test_masks_that_break_the_manifest_are_refused(tmp_path: Path) -> None:
    refused = {
        "two": (_masks(1, 2), "expected 3 masks"),
        "type": (Masks(_masks(1, 2, 3).array.astype(np.uint8), AFFINE), "uint8, expected bool"),
        "grid": (Masks(_masks(1, 2, 3).array.transpose(0, 1, 3, 2), AFFINE), r"\(4, 6, 5\) voxels"),
        "place": (_masks(1, 2, 3, affine=AFFINE + np.eye(4) * 0.01), "affines differ"),
    }
    for name, (masks, message) in refused.items():
        with pytest.raises(OutputInvalid, match=message):
            _read(tmp_path / name, masks, *TUMOUR, **OVERLAPPING)
    required = {**TUMOUR[1], "required": True}
    with pytest.raises(OutputInvalid, match="'Whole tumour'"):
        _read(tmp_path / "required", _masks(1, 0, 0), TUMOUR[0], required, TUMOUR[2], **OVERLAPPING)


def test_areas_on_slices_are_the_same_for_a_label_map_and_its_masks() -> None:
    labels = np.random.default_rng(3).integers(0, 4, (5, 7, 6)).astype(np.uint8)
    masks = np.stack([labels == value for value in (1, 2, 3)])
    of_labels, of_masks = slice_areas(LabelMap(labels, AFFINE)), slice_areas(Masks(masks, AFFINE))
    np.testing.assert_array_equal(of_labels[1:4], of_masks[1:])
    np.testing.assert_array_equal(of_masks[2], (labels == 2).sum(axis=(1, 2)))
    assert not of_labels[4:].any()


# Scores


def test_score_is_called_present_from_the_threshold_upwards(tmp_path: Path) -> None:
    reading = _read(tmp_path, Scores((0.5, 0.4999, 0.99)), **scored(0.5, 0.5, None))
    assert [f.evaluation for f in reading.findings] == [
        Evaluation.PRESENT,
        Evaluation.ABSENT,
        Evaluation.UNDETERMINED,
    ]
    (certainty,) = reading.findings[0].measurements
    assert (certainty.name.value, certainty.unit.value, certainty.value) == ("111012", "%", pytest.approx(50.0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.1,), "1 scores, it declares 2"),
        ((0.1, math.nan), "'Pleural effusion' is nan"),
        ((3.2, 0.1), "'Pneumothorax' is 3.2, expected 0 to 1: is the last activation missing"),
        ((-0.2, 0.1), "is -0.2"),
    ],
)
def test_scores_that_break_the_manifest_are_refused(tmp_path: Path, values: tuple[float, ...], message: str) -> None:
    with pytest.raises(OutputInvalid, match=message):
        _read(tmp_path, Scores(values), **scored(0.5, 0.5))


def test_rounding_error_of_a_softmax_is_no_broken_score(tmp_path: Path) -> None:
    (finding,) = _read(tmp_path, Scores((1.0000001,)), **scored(0.5)).findings
    assert isinstance(finding, Condition)
    assert finding.score == 1.0


# Boxes


def test_box_is_measured_and_placed(tmp_path: Path) -> None:
    reading = _read(tmp_path, _box(*SMALL), **boxed())
    nodule, mass = reading.findings
    assert isinstance(nodule, Detection)
    assert isinstance(mass, Undetected)
    diameter, certainty = nodule.measurements
    row_mm, column_mm = np.linalg.norm(AFFINE[:3, 1]), np.linalg.norm(AFFINE[:3, 2])
    assert diameter.value == pytest.approx(max(3 * row_mm, 2 * column_mm))
    assert (diameter.unit.value, certainty.value, certainty.unit.value) == ("mm", pytest.approx(80.0), "%")
    assert (nodule.slice_index, nodule.is_cut, nodule.tracking_id) == (2, False, "Nodule 1 (bundle)")
    summary = summarize(reading)[0]
    assert summary.box is not None
    assert summary.box.centre_mm == pytest.approx((AFFINE @ (1.5, 2, 2.5, 1))[:3])
    assert summary.box.size_mm == pytest.approx((2 * 2.508, 3 * row_mm, 2 * column_mm), rel=1e-3)
    assert summary.box.slice_number == 3


def test_best_score_comes_first_and_what_is_below_the_threshold_is_no_finding(tmp_path: Path) -> None:
    given_ = tuple(Box(*SMALL, score, label) for score, label in ((0.31, 0), (0.29, 0), (0.9, 1), (0.3, 1)))
    reading = _read(tmp_path, Boxes(given_, AFFINE), **boxed(0.3))
    assert [(f.number, f.name, f.score) for f in reading.findings if isinstance(f, Detection)] == [
        (1, "Mass", 0.9),
        (2, "Nodule", 0.31),
        (3, "Mass", 0.3),
    ]
    assert len(reading.findings) == 3


def test_class_without_a_box_is_absent_and_not_silence(tmp_path: Path) -> None:
    nodule, mass = _read(tmp_path, Boxes((), AFFINE), **boxed()).findings
    assert [type(f) for f in (nodule, mass)] == [Undetected, Undetected]
    assert {f.evaluation for f in (nodule, mass)} == {Evaluation.ABSENT}
    assert nodule.tracking_uid != mass.tracking_uid


corner = st.floats(-20, 20)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("detector") / "bundle", **boxed())


@given(st.tuples(corner, corner, corner), st.tuples(corner, corner, corner))
def test_box_is_cut_to_the_image_or_refused(detector: Bundle, a: tuple[float, ...], b: tuple[float, ...]) -> None:
    low, high = np.minimum(a, b), np.maximum(a, b)
    box, ends = _box(low.tolist(), high.tolist()), np.array(SHAPE) - 0.5
    slices, rows, columns = np.minimum(high, ends) - np.maximum(low, -0.5)
    if slices < 0 or rows <= 0 or columns <= 0:
        with pytest.raises(OutputInvalid, match="has no area in its image"):
            read_boxes(box, VOLUME, detector)
        return
    detection = read_boxes(box, VOLUME, detector)[0]
    assert isinstance(detection, Detection)
    np.testing.assert_array_equal(detection.low, np.maximum(low, -0.5))
    np.testing.assert_array_equal(detection.high, np.minimum(high, ends))
    assert detection.is_cut == (low.min() < -0.5 or (high > ends).any())
    assert 0 <= detection.slice_index < SHAPE[0]
    assert abs(detection.slice_index - (detection.low[0] + detection.high[0]) / 2) <= 0.5


def test_boxes_that_break_the_manifest_are_refused(tmp_path: Path) -> None:
    low, high = SMALL
    refused = {
        "class": (_box(low, high, label=7), r"classes \[7\], it declares \[0, 1\]"),
        "order": (_box(high, low), "inside out"),
        "number": (_box((0.5, math.nan, 1), high), "no numbers"),
        "score": (_box(low, high, score=1.5), "1.5, expected 0 to 1"),
        "outside": (_box((0, 0, 6), (1, 1, 8)), "no area"),
        "place": (Boxes((), AFFINE + np.eye(4) * 0.01), "affines differ"),
    }
    for name, (boxes, message) in refused.items():
        with pytest.raises(OutputInvalid, match=message):
            _read(tmp_path / name, boxes, **boxed())


def test_box_keeps_its_tracking_uid_when_it_hardly_moves_and_two_at_one_place_are_two(tmp_path: Path) -> None:
    first = _read(tmp_path / "a", _box(*SMALL), **boxed()).findings[0]
    hardly = _read(tmp_path / "b", _box((0.6, 0.5, 1.5), (2.5, 3.6, 3.5), 0.7), **boxed()).findings[0]
    elsewhere = _read(tmp_path / "c", _box((0.5, 0.5, 2.5), (2.5, 3.5, 4.5)), **boxed()).findings[0]
    assert first.tracking_uid == hardly.tracking_uid != elsewhere.tracking_uid
    twice = Boxes((Box(*SMALL, 0.8, 0), Box(*SMALL, 0.7, 0)), AFFINE)
    uids = [f.tracking_uid for f in _read(tmp_path / "d", twice, **boxed()).findings]
    assert len(set(uids)) == 3


# All


def test_answer_of_another_kind_than_declared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputInvalid, match="answered with Scores, its manifest declares LabelMap"):
        _read(tmp_path / "a", Scores((0.5,)), *KIDNEYS)
    with pytest.raises(OutputInvalid, match="answered with LabelMap, its manifest declares Masks"):
        _read(tmp_path / "b", LabelMap(np.zeros(SHAPE, np.uint8), AFFINE), *TUMOUR, **OVERLAPPING)
    with pytest.raises(OutputInvalid, match="declares Boxes"):
        _read(tmp_path / "c", Scores((0.5,)), **boxed())


def test_digest_changes_with_whatever_is_said(tmp_path: Path) -> None:
    calibrated = scored(0.5, calibrated=True)
    other = Masks(np.roll(_masks(3, 3, 3).array, 1, axis=3), AFFINE)
    said: list[tuple[ModelOutput, tuple[dict[str, Any], ...], dict[str, Any]]] = [
        (Scores((0.7,)), (), scored(0.5)),
        (Scores((0.7000001,)), (), scored(0.5)),
        (Scores((0.7,)), (), scored(0.6)),
        (Scores((0.7,)), (), calibrated),
        (_box(*SMALL), (), boxed()),
        (_box(*SMALL, score=0.81), (), boxed()),
        (_box((0.5, 0.5, 1.4), SMALL[1]), (), boxed()),
        (Boxes((), AFFINE), (), boxed()),
        (Boxes((), AFFINE), (), boxed(0.4)),
        (_masks(3, 3, 3), TUMOUR, OVERLAPPING),
        (other, TUMOUR, OVERLAPPING),
    ]
    digests = [
        [_read(tmp_path / f"{n}-{again}", output, *labels, **more).digest for again in "ab"]
        for n, (output, labels, more) in enumerate(said)
    ]
    assert all(first == again for first, again in digests)
    assert len({first for first, _ in digests}) == len(said)


def test_summary_says_present_absent_or_undetermined_and_no_box_where_there_is_none(tmp_path: Path) -> None:
    rows = summarize(_read(tmp_path, Scores((0.9, 0.1, 0.4)), **scored(0.5, 0.5, None)))
    assert [row.evaluation for row in rows] == ["present", "absent", "undetermined"]
    (certainty,) = rows[0].measurements
    assert (certainty.name, certainty.value, certainty.unit) == ("Certainty of Finding", pytest.approx(90.0), "%")
    assert {row.box for row in rows} == {None}


def test_masks_are_written_one_by_one_as_nifti(tmp_path: Path) -> None:
    masks = _masks(7, 20)
    assert _write_segmentation(masks, tmp_path) == ["mask-1.nii.gz", "mask-2.nii.gz"]
    image = nibabel.load(tmp_path / "mask-2.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), masks.array[1])
    assert _write_segmentation(Scores((0.5,)), tmp_path) == []
