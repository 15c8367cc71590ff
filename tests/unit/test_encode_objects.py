"""What stands in the objects: codes, sides, times, windows; checked attribute by attribute."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from bundles import KIDNEYS, LESION, THREE
from conformance.cases import CASES, DECIDED_AT, first_and_third, large_object, read_case
from wetread.errors import SpoolUnavailable


def _one(paths: list[Path]) -> Dataset:
    return dcmread(paths[0])


def _values(item: Dataset, code: str) -> list[str]:
    """Meanings of all CODE items of that concept name below ``item``."""
    found = []
    for child in item.get("ContentSequence", []):
        if child.ConceptNameCodeSequence[0].CodeValue == code and "ConceptCodeSequence" in child:
            found.append(child.ConceptCodeSequence[0].CodeMeaning)
        found += _values(child, code)
    return found


def _texts(item: Dataset) -> str:
    return " ".join([item.get("TextValue", ""), *(_texts(child) for child in item.get("ContentSequence", []))])


def test_segments_have_codes_sides_colours_and_algorithm(tmp_path: Path) -> None:
    case = read_case(tmp_path, KIDNEYS)
    segmentation = _one(case.paths("SEG"))
    sides = []
    for number, (segment, finding) in enumerate(
        zip(segmentation.SegmentSequence, case.context.reading.findings, strict=True), start=1
    ):
        assert (segment.SegmentNumber, segment.SegmentLabel) == (number, finding.name)
        assert (segment.TrackingID, segment.TrackingUID) == (finding.tracking_id, finding.tracking_uid)
        assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
        modifier = segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
        sides.append(modifier[0].CodeMeaning)
        assert len(segment.RecommendedDisplayCIELabValue) == 3
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
        assert algorithm.AlgorithmName == "phantom_reader"
    assert sides == ["Left", "Right"]
    assert segmentation.SegmentationType == "BINARY"


def test_segments_are_numbered_without_gap_when_a_label_was_not_found(tmp_path: Path) -> None:
    case = read_case(tmp_path, THREE, first_and_third)
    segments = _one(case.paths("SEG")).SegmentSequence
    assert [(s.SegmentNumber, s.SegmentLabel) for s in segments] == [(1, "Brain"), (2, "Cerebellum")]


def test_report_says_what_was_not_found_beside_what_was(tmp_path: Path) -> None:
    report = _one(read_case(tmp_path, THREE, first_and_third).paths("SR"))
    assert _values(report, "121071") == ["Brain", "Cerebellum"]
    assert _values(report, "52988006") == ["Absent"]
    assert _values(report, "111017") == ["All algorithms succeeded; without findings"]


def test_report_with_an_abnormality_says_so(tmp_path: Path) -> None:
    report = _one(read_case(tmp_path, (LESION,), large_object).paths("SR"))
    assert _values(report, "111017") == ["All algorithms succeeded; with findings"]


def test_report_of_normal_structures_alone_judges_nothing(tmp_path: Path) -> None:
    report = _one(read_case(tmp_path, KIDNEYS).paths("SR"))
    assert _values(report, "111017") == []
    assert _values(report, "272741003") == ["Left", "Right"]


def test_unseen_structure_is_not_called_absent(tmp_path: Path) -> None:
    report = _one(read_case(tmp_path, KIDNEYS, large_object).paths("SR"))
    assert _values(report, "64033007") == ["Undetermined"]
    assert "Right kidney: no voxel found." in _texts(report)


def test_report_names_engine_certificate_and_digests(tmp_path: Path) -> None:
    case = read_case(tmp_path, KIDNEYS)
    text = _texts(_one(case.paths("SR")))
    algorithm = case.context.reading.algorithm
    for part in ("torch 2.13.0, f32, cpu", "certificate: reference", algorithm.bundle_digest, algorithm.weights_digest):
        assert part in text


@pytest.mark.parametrize(("clinical", "said"), [(False, True), (True, False)])
def test_research_use_is_said_unless_the_bundle_is_for_clinical_use(tmp_path: Path, clinical: bool, said: bool) -> None:
    report = _one(read_case(tmp_path, KIDNEYS, manifest={"clinical_use": clinical}).paths("SR"))
    assert ("Research use only" in _texts(report)) is said
    assert "not reviewed" in _texts(report)


def test_report_lists_segmentation_and_all_sources_as_evidence_in_order(tmp_path: Path) -> None:
    case = read_case(tmp_path, KIDNEYS)
    (study,) = _one(case.paths("SR")).CurrentRequestedProcedureEvidenceSequence
    listed = [[i.ReferencedSOPInstanceUID for i in s.ReferencedSOPSequence] for s in study.ReferencedSeriesSequence]
    sources = sorted(dcmread(p, stop_before_pixels=True).SOPInstanceUID for p in case.sources)
    assert sorted(listed, key=len) == [[_one(case.paths("SEG")).SOPInstanceUID], sources]


def _zone(ds: Any, k: int) -> None:
    ds.TimezoneOffsetFromUTC = "-0530"


def test_times_are_in_the_zone_that_the_source_names(tmp_path: Path) -> None:
    for path in read_case(tmp_path, KIDNEYS, mutate=_zone).paths():
        dataset = dcmread(path, stop_before_pixels=True)
        assert dataset.TimezoneOffsetFromUTC == "-0530"
        assert dataset.ContentTime == f"{DECIDED_AT - timedelta(hours=5, minutes=30):%H%M%S.%f}"
        assert dataset.StudyTime == "081500"


def _no_window(ds: Any, k: int) -> None:
    del ds.WindowCenter, ds.WindowWidth
    ds.LossyImageCompression = "01"


def test_pictures_of_a_source_without_window_show_the_object(tmp_path: Path) -> None:
    case = read_case(tmp_path, KIDNEYS, mutate=_no_window)
    picture = _one(case.paths("SC"))
    grey = picture.pixel_array[60:400, 60:400]
    assert grey.min() < 30
    assert grey.max() > 200
    assert picture.LossyImageCompression == "01"


def test_picture_says_what_it_is(tmp_path: Path) -> None:
    picture = _one(read_case(tmp_path, KIDNEYS).paths("SC"))
    assert picture.ImageType == ["DERIVED", "SECONDARY"]
    assert (picture.ConversionType, picture.BurnedInAnnotation) == ("WSD", "YES")
    assert picture.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert picture.PatientOrientation == ["L", "P"]
    assert picture.BodyPartExamined == "HEAD"


def test_title_of_any_length_and_script_leaves_the_warning_whole(tmp_path: Path) -> None:
    case = read_case(tmp_path, **CASES["title beyond the source's characters"])
    for path in case.paths():
        description = dcmread(path, stop_before_pixels=True).SeriesDescription
        assert re.fullmatch(r"AI .* (segments|report|overlay) - NOT REVIEWED", description)
        assert len(description.encode()) <= 64


def test_interrupted_write_leaves_no_file_that_looks_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def power_cut(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("wetread.durable.os.fsync", power_cut)
    with pytest.raises(SpoolUnavailable, match="no space"):
        read_case(tmp_path, KIDNEYS)
    assert list((tmp_path / "results").glob("*.dcm")) == []
