"""Rules and the choice of series: every decision with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wetread.bundles.manifest import InputRule
from wetread.errors import Misconfigured
from wetread.records.study import InstanceRef, Patient, SeriesRef, StudyRef
from wetread.route.rules import Rule
from wetread.route.selection import select

MR = "1.2.840.10008.5.1.4.1.1.4"


def series(uid: str, *, count: int = 100, sop_class: str = MR, **attributes: Any) -> SeriesRef:
    instances = tuple(InstanceRef(f"{uid}.{k}", sop_class, Path("x"), f"d{uid}{k}") for k in range(count))
    fields = {"modality": "MR", "description": "T1 MPRAGE", "has_geometry": True, **attributes}
    return SeriesRef(series_instance_uid=uid, instances=instances, **fields)


def study(*contents: SeriesRef) -> StudyRef:
    return StudyRef("1.2", Patient("P1"), contents)


T1 = InputRule(
    name="image",
    modality=("MR",),
    description_any=("t1",),
    description_none=("flair",),
    body_part=("HEAD",),
    min_instances=50,
)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('"MR" in study.modalities', True),
        ('"CT" in study.modalities', False),
        ('study.series.exists(s, s.description.contains("T1"))', True),
        ('study.series.exists(s, s.description.matches("(?i)mprage") && s.instance_count >= 100)', True),
        ('study.patient.sex == ""', True),
        ('study.accession_number.startsWith("A")', False),
    ],
)
def test_rule_sees_the_study(expression: str, expected: bool) -> None:
    assert Rule(expression).matches(study(series("1"))) is expected


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ('"MR" in study.modalites', "did you mean 'modalities'"),
        ('"MR" in study.modalities || study.typo == ""', "no field 'typo'"),
        ('study.series.exists(s, s.descripton.contains("x"))', "did you mean 'description'"),
        ('"MR" in study.modality', "no field 'modality' where it is asked for"),
        ("study.description", "must give true or false"),
        ("study.instance_count > 'many'", "rule"),
        ("study.instance_count >", "cannot be parsed"),
        ("stdy.instance_count > 3", "rule"),
    ],
)
def test_faulty_rule_is_refused_when_it_is_loaded(expression: str, hint: str) -> None:
    with pytest.raises(Misconfigured, match=hint):
        Rule(expression)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"modality": "CT"}, "modality is CT, expected MR"),
        ({"description": "T2 TSE"}, "says none of: t1"),
        ({"description": "T1 FLAIR"}, "says flair, which the bundle excludes"),
        ({"description": ""}, "absent"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "Image Type is LOCALIZER"),
        ({"body_part": "KNEE"}, "body part is KNEE, expected HEAD"),
        ({"count": 49}, "49 instances, expected at least 50"),
        ({"has_geometry": False}, "no position, orientation or pixel spacing"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.66.4"}, "a result or other derived object"),
    ],
)
def test_series_passed_over_has_its_reason(attributes: dict[str, Any], reason: str) -> None:
    selection = select(study(series("1", **attributes)), (T1,))
    assert selection.reads == ()
    assert reason in selection.verdicts[0].reason
    assert reason in selection.missing


def test_best_takes_the_series_with_most_instances_and_says_why_not_the_other() -> None:
    selection = select(study(series("1", count=60), series("2", count=200)), (T1,))
    ((choice,),) = selection.reads
    assert choice.series.series_instance_uid == "2"
    assert [v.taken for v in selection.verdicts] == [True, False]
    assert "is preferred" in selection.verdicts[1].reason


def test_choice_does_not_depend_on_the_order_of_arrival() -> None:
    one, two = series("1"), series("2")
    assert select(study(one, two), (T1,)).reads == select(study(two, one), (T1,)).reads


def test_all_gives_one_read_for_each_fitting_series() -> None:
    rule = T1.model_copy(update={"choose": "all"})
    selection = select(study(series("1"), series("2"), series("3", modality="CT")), (rule,))
    assert [read[0].series.series_instance_uid for read in selection.reads] == ["1", "2"]


def test_every_input_needs_its_series() -> None:
    t2 = InputRule.model_validate({**T1.model_dump(), "name": "t2", "description_any": ["t2"]})
    assert select(study(series("1")), (T1, t2)).reads == ()
    both = select(study(series("1"), series("2", description="T2")), (T1, t2))
    ((first, second),) = both.reads
    assert (first.input_name, second.input_name) == ("image", "t2")
