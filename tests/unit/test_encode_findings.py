"""What reports and pictures say about scores, boxes and overlapping structures; checked attribute by attribute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from bundles import LESION, LUNG, TUMOUR, boxed, scored
from conformance.cases import (
    EDGE,
    ONE_PIXEL,
    Case,
    boxes,
    large_object,
    many_labels,
    overlapping,
    read_case,
    scores,
    stripes,
)
from conformance.tree import groups, items, name_of
from wetread.encode.layout import Layout
from wetread.encode.lettering import legend_rows
from wetread.encode.marks import Outline, Rectangle, draw_marks, marks_on_slice, rectangle
from wetread.encode.read_back import read_segmentation
from wetread.errors import OutputInvalid
from wetread.records.finding import Detection


def _report(case: Case) -> Dataset:
    return dcmread(case.paths("SR")[0])


def _meanings(report: Dataset, code: str) -> list[str]:
    found = (item for item in items(report) if name_of(item)[0] == code and "ConceptCodeSequence" in item)
    return [item.ConceptCodeSequence[0].CodeMeaning for item in found]


def _numbers(item: Dataset, code: str) -> list[tuple[float, str]]:
    values = [i.MeasuredValueSequence[0] for i in items(item) if name_of(i)[0] == code]
    return [(float(v.NumericValue), v.MeasurementUnitsCodeSequence[0].CodeValue) for v in values]


def _texts(report: Dataset) -> str:
    return "\n".join(item.TextValue for item in items(report) if "TextValue" in item)


def _legend(case: Case) -> list[str]:
    return [row.text for row in legend_rows(case.context.reading.findings, shown=())]


# Scores


def test_conditions_are_scored_in_groups_and_called_in_the_evaluations(tmp_path: Path) -> None:
    case = read_case(tmp_path, manifest=scored(0.5, 0.25), answer=scores(0.874, 0.0312))
    report = _report(case)
    assert [r.kind for r in case.results] == ["SR", "SC"]
    assert [_numbers(g, "111012") for g in groups(report)] == [[(87.4, "%")], [(3.12, "%")]]
    assert _meanings(report, "121071") == ["Pneumothorax", "Pleural effusion"]
    assert (_meanings(report, "36118008"), _meanings(report, "60046008")) == (["Present"], ["Absent"])
    assert _meanings(report, "111017") == ["All algorithms succeeded; with findings"]
    text = _texts(report)
    assert "score threshold: 0.25" in text
    assert "Pleural effusion: score 3.12 % is below the threshold of 25 %." in text
    assert "not a probability" in text


SUMMARIES: dict[str, tuple[tuple[float | None, ...], tuple[float, ...], list[str]]] = {
    "one present": ((0.5, 0.5), (0.1, 0.5), ["All algorithms succeeded; with findings"]),
    "all absent": ((0.5, 0.5), (0.1, 0.49), ["All algorithms succeeded; without findings"]),
    "one not called": ((0.5, None), (0.1, 0.1), []),
    "present beside one not called": ((0.5, None), (0.9, 0.1), ["All algorithms succeeded; with findings"]),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_summary_says_without_findings_only_if_everything_was_called_absent(name: str, tmp_path: Path) -> None:
    thresholds, values, expected = SUMMARIES[name]
    report = _report(read_case(tmp_path, manifest=scored(*thresholds), answer=scores(*values)))
    assert _meanings(report, "111017") == expected


def test_score_without_threshold_is_undetermined_and_the_reason_is_given(tmp_path: Path) -> None:
    case = read_case(tmp_path, manifest=scored(None, calibrated=True), answer=scores(0.874))
    report = _report(case)
    assert _meanings(report, "36118008") == ["Undetermined"]
    assert "the model has no threshold, so nothing is called." in _texts(report)
    assert "not a probability" not in _texts(report)
    assert _legend(case) == ["Pneumothorax: likely, 87.4 %, no threshold: not called"]


def test_picture_of_scores_is_the_middle_slice_with_the_calls_below(tmp_path: Path) -> None:
    case = read_case(tmp_path, manifest=scored(0.5, 0.5), answer=scores(0.874, 0.0312))
    (path,) = case.paths("SC")
    picture = dcmread(path)
    assert picture.InstanceNumber == 13
    assert picture.DerivationDescription == "Windowed to 8 bit, AI scores and banner drawn in"
    assert _legend(case) == [
        "Pneumothorax: PRESENT, score 87.4 %, threshold 50 %",
        "Pleural effusion: ABSENT, score 3.12 %, threshold 50 %",
    ]


# Boxes


def test_boxes_are_regions_on_their_slices_with_diameter_certainty_and_site(tmp_path: Path) -> None:
    case = read_case(tmp_path, manifest=boxed(), answer=boxes(EDGE, ONE_PIXEL), modality="CT")
    report = _report(case)
    first, second = groups(report)
    assert [g.ContentTemplateSequence[0].TemplateIdentifier for g in (first, second)] == ["1410", "1410"]
    assert (_numbers(first, "111012"), _numbers(second, "111012")) == ([(87.0, "%")], [(35.0, "%")])
    assert _numbers(second, "81827009") == [(1.1, "mm")]
    assert _meanings(report, "363698007") == ["Lung", "Lung"]
    region = next(item for item in items(second) if item.ValueType == "SCOORD")
    assert np.array(region.GraphicData).reshape(-1, 2).tolist() == [[10, 20], [11, 20], [11, 21], [10, 21], [10, 20]]
    assert _meanings(report, "111017") == ["All algorithms succeeded; with findings"]


def test_report_says_where_a_box_lies_and_that_it_was_cut(tmp_path: Path) -> None:
    case = read_case(tmp_path, manifest=boxed(), answer=boxes(EDGE, ONE_PIXEL))
    numbers = [dcmread(case.sources[k]).InstanceNumber for k in (1, 12)]
    text = _texts(_report(case))
    assert f"Nodule 1: box on image {numbers[0]}, slice 2 of 24, score 87 %. It reaches beyond the image" in text
    assert f"Mass 2: box on image {numbers[1]}, slice 13 of 24, score 35 %." in text
    assert text.count("reaches beyond") == 1


def test_class_not_detected_is_absent_with_and_without_other_boxes(tmp_path: Path) -> None:
    nothing = _report(read_case(tmp_path / "a", manifest=boxed(), answer=boxes()))
    assert _meanings(nothing, "111017") == ["All algorithms succeeded; without findings"]
    assert (_meanings(nothing, "27925004"), _meanings(nothing, "4147007")) == (["Absent"], ["Absent"])
    assert "Mass: no detection with a score of at least 30 %." in _texts(nothing)
    assert len(list(groups(nothing))) == 2
    one = _report(read_case(tmp_path / "b", manifest=boxed(), answer=boxes(EDGE)))
    assert (_meanings(one, "27925004"), _meanings(one, "4147007")) == ([], ["Absent"])
    assert len(list(groups(one))) == 1


def test_tracking_uid_of_a_box_is_the_same_in_report_and_summary(tmp_path: Path) -> None:
    case = read_case(tmp_path, manifest=boxed(), answer=boxes(EDGE, ONE_PIXEL))
    uids = [item.UID for item in items(_report(case)) if name_of(item) == ("112040", "DCM")]
    assert uids == [f.tracking_uid for f in case.context.reading.findings]


def test_pictures_show_the_best_boxes_on_the_slices_through_their_middle(tmp_path: Path) -> None:
    answer = boxes(*(((k - 0.5, 5, 5), (k + 0.5, 9, 9), 0.9 - k / 100, 0) for k in range(1, 22, 3)))
    case = read_case(tmp_path, manifest=boxed(), answer=answer)
    assert [dcmread(p).InstanceNumber for p in case.paths("SC")] == [2, 5, 8, 11, 14]
    (mark,) = marks_on_slice(case.context.reading, 4)
    assert isinstance(mark, Rectangle)
    assert mark.caption == "2: 86 %"
    assert _legend(case)[1] == "2: Nodule  4.4 mm, score 86 %"


def test_one_slice_shows_all_boxes_that_it_cuts_near_their_middle(tmp_path: Path) -> None:
    answer = boxes(
        ((4, 5, 5), (12, 9, 9), 0.9, 0), ((5, 20, 20), (12, 25, 25), 0.8, 1), ((7, 0, 0), (21, 3, 3), 0.7, 1)
    )
    case = read_case(tmp_path, manifest=boxed(), answer=answer)
    assert [dcmread(p).InstanceNumber for p in case.paths("SC")] == [9, 15]
    assert len(marks_on_slice(case.context.reading, 8)) == 3


def test_rectangle_lies_inside_the_picture_of_the_image(tmp_path: Path) -> None:
    case = read_case(tmp_path, manifest=boxed(), answer=boxes(((0, -9, -9), (3, 90, 90), 0.9, 0), ONE_PIXEL))
    whole, pixel = (f for f in case.context.reading.findings if isinstance(f, Detection))
    layout = Layout.fit((48, 40), (0.9, 1.1), top=34)
    assert rectangle(whole, layout) == (0, 0, layout.size[0] - 1, layout.height - 1)
    left, top, right, bottom = rectangle(pixel, layout)
    assert (right - left + 1, bottom - top + 1) == pytest.approx((layout.scale_x, layout.scale_y), abs=1)


# Segments


def test_overlapping_structures_share_voxels_and_the_object_says_so(tmp_path: Path) -> None:
    case = read_case(tmp_path, TUMOUR, answer=overlapping(0), manifest={"overlapping": True})
    segmentation = dcmread(case.paths("SEG")[0])
    assert segmentation.SegmentsOverlap == "YES"
    assert [s.SegmentLabel for s in segmentation.SegmentSequence] == ["Whole tumour", "Enhancing tumour"]
    frames = segmentation.PerFrameFunctionalGroupsSequence
    numbers = [f.SegmentIdentificationSequence[0].ReferencedSegmentNumber for f in frames]
    masks = case.context.reading.output.array
    assert [numbers.count(n) for n in (1, 2)] == [int(m.any(axis=(1, 2)).sum()) for m in masks[1:]]
    report = _report(case)
    assert [value for value, _ in _numbers(report, "118565006")] == [
        pytest.approx(m.sum() * case.context.image.voxel_volume_ml, rel=1e-5) for m in masks[1:]
    ]
    assert _meanings(report, "86049000") == ["Absent"]


def test_overlapping_structures_are_not_read_back_as_one_label_map(tmp_path: Path) -> None:
    case = read_case(tmp_path, TUMOUR, answer=overlapping(), manifest={"overlapping": True})
    with pytest.raises(OutputInvalid, match="overlap"):
        read_segmentation(case.paths("SEG")[0], case.context.image)


def test_rims_that_run_together_are_all_seen(tmp_path: Path) -> None:
    from PIL import Image

    case = read_case(tmp_path, TUMOUR, answer=overlapping(), manifest={"overlapping": True})
    small = int(np.argmax(case.context.reading.output.array[0].sum(axis=(1, 2))))
    marks = [m for m in marks_on_slice(case.context.reading, small) if isinstance(m, Outline)][:2]
    assert np.array_equal(marks[0].mask & marks[1].mask, marks[0].mask)
    layout = Layout.fit((48, 40), (0.9, 1.1), top=0)
    image = Image.new("RGB", layout.size)
    draw_marks(image, marks, layout)
    seen = [(np.asarray(image) == mark.finding.colour_rgb).all(axis=-1).sum() for mark in marks]
    assert min(seen) > 0.3 * max(seen)


def test_site_of_a_lesion_is_in_report_and_segment(tmp_path: Path) -> None:
    case = read_case(tmp_path, ({**LESION, "site": LUNG},), large_object)
    (segment,) = dcmread(case.paths("SEG")[0]).SegmentSequence
    assert segment.AnatomicRegionSequence[0].CodeMeaning == "Lung"
    assert _meanings(_report(case), "363698007") == ["Lung"]


def test_105_structures_are_105_segments_and_105_groups(tmp_path: Path) -> None:
    case = read_case(tmp_path, many_labels(105), stripes(105))
    segments = dcmread(case.paths("SEG")[0]).SegmentSequence
    uids = [item.UID for item in items(_report(case)) if name_of(item) == ("112040", "DCM")]
    assert [s.SegmentNumber for s in segments] == list(range(1, 106))
    assert uids == [s.TrackingUID for s in segments]


def test_reading_of_scores_gives_no_segmentation(tmp_path: Path) -> None:
    kinds: dict[str, Any] = {"scores": (scored(0.5), scores(0.9)), "boxes": (boxed(), boxes(EDGE))}
    for name, (manifest, answer) in kinds.items():
        case = read_case(tmp_path / name, manifest=manifest, answer=answer)
        assert not case.paths("SEG")
        (study,) = _report(case).CurrentRequestedProcedureEvidenceSequence
        assert len(study.ReferencedSeriesSequence) == 1
