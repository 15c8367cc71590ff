"""The gate's negative controls: broken objects must be refused, or the gate proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from bundles import KIDNEYS
from conformance import own_checks
from conformance.cases import CASES, Case, many_labels, read_case, stripes
from conformance.gate import check_files, complaints
from wetread.records.result import Rendition

Break = Callable[[Dataset], None]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A study whose results are in order."""
    return read_case(tmp_path_factory.mktemp("good"), KIDNEYS)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Good reads of other kinds."""
    names = ("boxes", "present and absent", "no threshold", "no box")
    return {name: read_case(tmp_path_factory.mktemp("other"), **CASES[name]) for name in names}


def _sees(tool: str, case: Case, kind: str, mutate: Break, folder: Path) -> bool:
    """Whether ``tool`` complains of it after ``mutate`` changed the first object of a kind; the others are good."""
    path = case.paths(kind)[0]
    dataset = dcmread(path)
    mutate(dataset)
    changed = folder / path.name
    dataset.save_as(changed)
    first_of_each = [case.paths(kind)[0] for kind in dict.fromkeys(r.kind for r in case.results)]
    results = [changed if p == path else p for p in first_of_each]
    return any(complaint.tool == tool for complaint in complaints(results, case.sources, alone=[changed]))


def _items(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence", []):
        yield from _items(child)


def _named(report: Dataset, code: str) -> list[tuple[Dataset, Dataset]]:
    """Every content item of that concept name with its parent."""
    return [
        (parent, child)
        for parent in _items(report)
        for child in parent.get("ContentSequence", [])
        if "ConceptNameCodeSequence" in child and child.ConceptNameCodeSequence[0].CodeValue == code
    ]


def _remove(code: str) -> Break:
    def mutate(report: Dataset) -> None:
        found = _named(report, code)
        assert found
        for parent, child in found:
            parent.ContentSequence.remove(child)

    return mutate


def _set(keyword: str, value: object) -> Break:
    return lambda dataset: setattr(dataset, keyword, value)


def _delete(keyword: str) -> Break:
    return lambda dataset: delattr(dataset, keyword)


def _bad_unit(report: Dataset) -> None:
    for _, number in _named(report, "118565006"):
        unit = number.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
        unit.CodeValue = unit.CodeMeaning = "bananas"


def _no_unit_of(code: str) -> Break:
    def mutate(report: Dataset) -> None:
        for _, number in _named(report, code):
            del number.MeasuredValueSequence[0].MeasurementUnitsCodeSequence

    return mutate


def _no_template(report: Dataset) -> None:
    for item in _items(report):
        item.pop("ContentTemplateSequence", None)


def _wrong_meaning(report: Dataset) -> None:
    for _, finding in _named(report, "121071"):
        finding.ConceptCodeSequence[0].CodeMeaning = "Spleen"


def _illegal_relationship(report: Dataset) -> None:
    for _, number in _named(report, "118565006"):
        number.RelationshipType = "HAS CONCEPT MOD"


def _wrong_root(report: Dataset) -> None:
    report.ConceptNameCodeSequence[0].CodeValue = "126001"


def _continuous(report: Dataset) -> None:
    for item in _items(report):
        if item.ValueType == "CONTAINER":
            item.ContinuityOfContent = "CONTINUOUS"


def _swapped_tracking(segmentation: Dataset) -> None:
    first, second = segmentation.SegmentSequence
    first.TrackingUID, second.TrackingUID = second.TrackingUID, first.TrackingUID


def _no_evidence(report: Dataset) -> None:
    study = report.CurrentRequestedProcedureEvidenceSequence[0]
    study.ReferencedSeriesSequence = study.ReferencedSeriesSequence[:1]


def _gap_in_segment_numbers(segmentation: Dataset) -> None:
    segmentation.SegmentSequence[1].SegmentNumber = 5


def _private_category(segmentation: Dataset) -> None:
    segmentation.SegmentSequence[0].SegmentedPropertyCategoryCodeSequence[0].CodingSchemeDesignator = "XYZ"


MUTATIONS: dict[str, tuple[str, str, Break]] = {
    "unit is no UCUM unit": ("SR", "own", _bad_unit),
    "number without unit": ("SR", "dsrdump", _no_unit_of("118565006")),
    "group without tracking identifier": ("SR", "own", _remove("112039")),
    "group without tracking UID": ("SR", "own", _remove("112040")),
    "containers without template": ("SR", "own", _no_template),
    "code and meaning disagree": ("SR", "own", _wrong_meaning),
    "no procedure reported": ("SR", "own", _remove("121058")),
    "group without segment": ("SR", "pixelmed", _remove("121191")),
    "group without source series": ("SR", "pixelmed", _remove("121232")),
    "illegal relationship": ("SR", "dsrdump", _illegal_relationship),
    "root is not a measurement report": ("SR", "pixelmed", _wrong_root),
    "containers continuous": ("SR", "own", _continuous),
    "evidence incomplete": ("SR", "dciodvfy", _no_evidence),
    "looks verified": ("SR", "own", _set("VerificationFlag", "VERIFIED")),
    "looks final": ("SR", "own", _set("PreliminaryFlag", "FINAL")),
    "completion flag missing": ("SR", "dciodvfy", _delete("CompletionFlag")),
    "description does not warn": ("SR", "own", _set("SeriesDescription", "Brain")),
    "other patient": ("SR", "dcentvfy", _set("PatientID", "SOMEBODY-ELSE")),
    "other name": ("SC", "dcentvfy", _set("PatientName", "Somebody^Else")),
    "other study description": ("SC", "dcentvfy", _set("StudyDescription", "Knee")),
    "conversion type missing": ("SC", "dciodvfy", _delete("ConversionType")),
    "body part missing": ("SC", "dciodvfy", _delete("BodyPartExamined")),
    "burned in text not declared": ("SC", "own", _set("BurnedInAnnotation", "NO")),
    "invalid sex": ("SC", "dciodvfy", _set("PatientSex", "X")),
    "source image not named": ("SC", "own", _delete("SourceImageSequence")),
    "tracking exchanged": ("SEG", "own", _swapped_tracking),
    "gap in segment numbers": ("SEG", "dcmqi", _gap_in_segment_numbers),
    "unknown coding scheme": ("SEG", "dciodvfy", _private_category),
    "segmentation type missing": ("SEG", "dcmqi", _delete("SegmentationType")),
    "no dimension index": ("SEG", "dciodvfy", _delete("DimensionIndexSequence")),
    "segmentation without frame of reference": ("SEG", "dciodvfy", _set("FrameOfReferenceUID", "")),
}
"""What is broken: kind of object, the tool that must notice, how. ``own`` is what no outside tool sees."""


def _swapped_tracking_of_label_map(segmentation: Dataset) -> None:
    _, first, second = segmentation.SegmentSequence
    first.TrackingUID, second.TrackingUID = second.TrackingUID, first.TrackingUID


def _values_beyond_the_segments(segmentation: Dataset) -> None:
    del segmentation.SegmentSequence[2]


def _reference_to_binary(report: Dataset) -> None:
    for _, image in _named(report, "121191"):
        image.ReferencedSOPSequence[0].ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"


LABEL_MAP_MUTATIONS: dict[str, tuple[str, str, Break]] = {
    "tracking exchanged": ("SEG", "own", _swapped_tracking_of_label_map),
    "voxels of a segment that is not described": ("SEG", "own", _values_beyond_the_segments),
    "type is that of another class": ("SEG", "dciodvfy", _set("SegmentationType", "BINARY")),
    "type missing": ("SEG", "dciodvfy", _delete("SegmentationType")),
    "no dimension index": ("SEG", "dciodvfy", _delete("DimensionIndexSequence")),
    "no photometric interpretation": ("SEG", "dciodvfy", _delete("PhotometricInterpretation")),
    "without frame of reference": ("SEG", "dciodvfy", _set("FrameOfReferenceUID", "")),
    "report refers to a binary one": ("SR", "own", _reference_to_binary),
    "evidence incomplete": ("SR", "dciodvfy", _no_evidence),
    "number without unit": ("SR", "dsrdump", _no_unit_of("118565006")),
    "illegal relationship": ("SR", "dsrdump", _illegal_relationship),
    "group without segment": ("SR", "pixelmed", _remove("121191")),
}
"""Of the modern rendition: kind of object, the tool that must notice, how."""


@pytest.fixture(scope="module")
def modern(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The same study in the modern rendition."""
    return read_case(tmp_path_factory.mktemp("modern"), KIDNEYS, rendition=Rendition.MODERN)


@pytest.mark.parametrize("name", LABEL_MAP_MUTATIONS)
def test_broken_object_of_the_modern_rendition_is_refused(name: str, modern: Case, tmp_path: Path) -> None:
    kind, tool, mutate = LABEL_MAP_MUTATIONS[name]
    assert _sees(tool, modern, kind, mutate, tmp_path)


def _move_region(by: float) -> Break:
    def mutate(report: Dataset) -> None:
        for _, region in _named(report, "111030"):
            region.GraphicData = [float(v) + by for v in region.GraphicData]

    return mutate


def _open_region(report: Dataset) -> None:
    for _, region in _named(report, "111030"):
        region.GraphicData = list(region.GraphicData)[:-2]


def _region_elsewhere(report: Dataset) -> None:
    for _, region in _named(report, "111030"):
        region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"


def _region_without_image(report: Dataset) -> None:
    for _, region in _named(report, "111030"):
        del region.ContentSequence


def _call(finding: str, value: str, meaning: str) -> Break:
    def mutate(report: Dataset) -> None:
        for _, item in _named(report, finding):
            item.ConceptCodeSequence[0].CodeValue, item.ConceptCodeSequence[0].CodeMeaning = value, meaning

    return mutate


def _score(value: float) -> Break:
    def mutate(report: Dataset) -> None:
        for _, number in _named(report, "111012"):
            number.MeasuredValueSequence[0].NumericValue = value

    return mutate


OTHER_MUTATIONS: dict[str, tuple[str, str, Break]] = {
    "box beyond the image": ("boxes", "own", _move_region(30.0)),
    "box left of the image": ("boxes", "own", _move_region(-30.0)),
    "box not closed": ("boxes", "own", _open_region),
    "box on an image that was not read": ("boxes", "dciodvfy", _region_elsewhere),
    "box on no image": ("boxes", "dciodvfy", _region_without_image),
    "diameter without unit": ("boxes", "dsrdump", _no_unit_of("81827009")),
    "present although the score is below": ("present and absent", "own", _call("60046008", "52101004", "Present")),
    "absent although the score reaches it": ("present and absent", "own", _call("36118008", "272519000", "Absent")),
    "condition not called": ("present and absent", "own", _remove("60046008")),
    "score changed after the call": ("present and absent", "own", _score(3.0)),
    "score beyond 100 %": ("no threshold", "own", _score(874.0)),
    "called without threshold": ("no threshold", "own", _call("36118008", "52101004", "Present")),
    "silence about what was not found": ("no box", "own", _remove("27925004")),
    "present without a box": ("no box", "own", _call("27925004", "52101004", "Present")),
}
"""Of reports about boxes and scores: case, the tool that must notice, how."""


@pytest.mark.parametrize("name", OTHER_MUTATIONS)
def test_broken_report_of_another_kind_is_refused(name: str, others: dict[str, Case], tmp_path: Path) -> None:
    case, tool, mutate = OTHER_MUTATIONS[name]
    assert _sees(tool, others[case], "SR", mutate, tmp_path)


def test_group_missing_from_one_part_of_a_long_report_is_seen(tmp_path: Path) -> None:
    """A validator that gets the report in parts must still see the one group among many that is wrong."""
    case = read_case(tmp_path / "case", many_labels(30), stripes(30))

    def mutate(report: Dataset) -> None:
        group = _named(report, "125007")[25][1]
        group.ContentSequence.remove(next(i for i in group.ContentSequence if i.ValueType == "IMAGE"))

    assert _sees("pixelmed", case, "SR", mutate, tmp_path)


def test_good_objects_pass(good: Case) -> None:
    assert check_files(good.paths(), good.sources) == []


@pytest.mark.parametrize("name", MUTATIONS)
def test_broken_object_is_refused_by_the_tool_that_must_see_it(name: str, good: Case, tmp_path: Path) -> None:
    kind, tool, mutate = MUTATIONS[name]
    assert _sees(tool, good, kind, mutate, tmp_path)


def test_report_without_its_segmentation_is_refused(good: Case) -> None:
    found = check_files(good.paths("SR"), good.sources)
    assert {c.tool for c in found} == {"dcentvfy"}
    assert any("Missing SOPInstanceUID that was referenced" in c.text for c in found)


def test_no_objects_are_no_passed_objects(good: Case) -> None:
    assert check_files([], good.sources)


def test_codes_of_units_the_bundles_use_are_known() -> None:
    unit = Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "mL", "UCUM", "mL"
    holder = Dataset()
    holder.MeasurementUnitsCodeSequence = [unit]
    assert list(own_checks._codes(holder)) == []
    unit.CodeValue = "ml/furlong"
    assert list(own_checks._codes(holder))
