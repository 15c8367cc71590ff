"""Nobody is read with a bundle that was not made for them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from wetread.bundles.manifest import InputRule, Manifest, PatientRule, Range
from wetread.errors import NotIntended
from wetread.guard.guard import every_reason
from wetread.guard.intended import age_years, check_patient, check_spacing
from wetread.records.job import ReadOptions
from wetread.records.study import Patient, SeriesRef, StudyRef
from wetread.records.volume import Volume

ADULTS = PatientRule(age_years=Range(min=18, max=90))


def study(*, age: str = "", born: str = "", date: str = "20260314", sex: str = "F") -> StudyRef:
    return StudyRef(
        "1.2", Patient("PH-0042", name="Phantom^Petra", birth_date=born, sex=sex), (), date=date, patient_age=age
    )


def volume(*spacing_mm: float) -> Volume:
    affine = np.diag([*spacing_mm, 1.0])
    return Volume(np.zeros((2, 2, 2), np.float32), affine, SeriesRef("1.2.3", "MR", (), "T1 MPRAGE", 3), (), "1.2.4")


@pytest.mark.parametrize(
    ("age", "born", "years"),
    [
        ("046Y", "", 46),
        ("018M", "", 1.5),
        ("052W", "", 52 * 7 / 365.25),
        ("003D", "", 3 / 365.25),
        ("", "19800314", 46),
        ("", "19800315", 45),
        ("", "20260304", 10 / 365.25),
        ("", "20240601", 651 / 365.25),
        ("", "20240314", 2),
        ("040Y", "19800314", 40),
        ("46", "19800314", 46),
    ],
)
def test_age_comes_from_patients_age_else_from_dates(age, born, years):
    assert age_years(study(age=age, born=born)) == pytest.approx(years)


@pytest.mark.parametrize(
    ("age", "born", "date"),
    [
        ("", "", "20260314"),
        ("", "19800314", ""),
        ("", "20270101", "20260314"),
        ("", "19800231", "20260314"),
        ("", "00000000", "20260314"),
        ("", "1980.03.14", "20260314"),
        ("46 Y", "", "20260314"),
    ],
)
def test_age_that_the_study_does_not_tell_is_unknown(age, born, date):
    assert age_years(study(age=age, born=born, date=date)) is None


@pytest.mark.parametrize(
    ("age", "allowed"), [("017Y", False), ("011M", False), ("018Y", True), ("090Y", True), ("091Y", False)]
)
def test_both_ends_of_the_age_range_belong_to_it(age, allowed):
    if allowed:
        assert check_patient(study(age=age), ADULTS) is None
    else:
        with pytest.raises(NotIntended, match="the bundle was made for 18 to 90 years"):
            check_patient(study(age=age), ADULTS)


def test_refusal_says_the_age_but_not_who():
    with pytest.raises(NotIntended) as caught:
        check_patient(study(age="006M"), ADULTS)
    assert str(caught.value) == "the patient is 0.5 years old, the bundle was made for 18 to 90 years"


def test_unknown_age_is_refused_unless_the_bundle_accepts_it():
    with pytest.raises(NotIntended, match="gives neither the patient's age nor birth and study date"):
        check_patient(study(), ADULTS)
    assert check_patient(study(), ADULTS.model_copy(update={"unknown_age": "accept"})) is None


def test_unknown_age_does_not_matter_where_age_is_not_limited():
    assert check_patient(study(), PatientRule()) is None


@pytest.mark.parametrize(
    ("sex", "found"), [("M", "the patient's sex is M"), ("", "does not give the patient's sex"), ("O", "sex is O")]
)
def test_other_or_unknown_sex_is_refused_where_the_bundle_names_one(sex, found):
    with pytest.raises(NotIntended, match=f"{found}, the bundle was made for F"):
        check_patient(study(sex=sex), PatientRule(sex=("F",)))


@pytest.mark.parametrize("sex", ["F", "M", "O", ""])
def test_any_sex_is_accepted_where_the_bundle_names_none(sex):
    assert check_patient(study(sex=sex), PatientRule()) is None


def test_named_sex_is_accepted():
    assert check_patient(study(sex="f"), PatientRule(sex=("F", "M"))) is None


RULE = InputRule(
    name="image", modality=("MR",), slice_spacing_mm=Range(max=3), pixel_spacing_mm=Range(min=0.5, max=1.2)
)


@pytest.mark.parametrize("spacing_mm", [(3.0, 0.5, 1.2), (3.0000004, 0.4999996, 1.2000003), (0.1, 1, 1)])
def test_spacing_inside_the_range_is_accepted(spacing_mm):
    assert check_spacing(volume(*spacing_mm), RULE) is None


@pytest.mark.parametrize(
    ("spacing_mm", "message"),
    [
        ((3.1, 1, 1), "slices are 3.1 mm apart, the bundle was made for at most 3 mm"),
        ((2, 0.4, 1), "pixels are 0.4 × 1 mm apart (rows × columns), the bundle was made for 0.5 to 1.2 mm"),
        ((2, 1, 1.3), "pixels are 1 × 1.3 mm apart (rows × columns), the bundle was made for 0.5 to 1.2 mm"),
    ],
)
def test_spacing_outside_the_range_is_refused_with_both_numbers(spacing_mm, message):
    with pytest.raises(NotIntended) as caught:
        check_spacing(volume(*spacing_mm), RULE)
    assert str(caught.value) == f"series 3 'T1 MPRAGE': {message}"


def test_oblique_volume_is_measured_along_its_own_axes():
    turned = np.eye(4)
    turned[:3, :3] = np.array([[0, 0, 1], [0.6, 0.8, 0], [-0.8, 0.6, 0]]).T * (2.0, 1.0, 0.7)
    assert check_spacing(replace(volume(1, 1, 1), affine=turned), RULE) is None
    with pytest.raises(NotIntended, match="slices are 4 mm apart"):
        check_spacing(replace(volume(1, 1, 1), affine=turned @ np.diag([2, 1, 1, 1])), RULE)


def test_rejection_names_the_age_before_the_view_and_nothing_that_is_allowed() -> None:
    manifest = cast("Manifest", SimpleNamespace(patient=PatientRule(age_years=Range(max=5), sex=("F",))))
    adult, allowed = study(age="064Y", sex="M"), ReadOptions(outside_intended_use=True)
    assert every_reason("view is PA", adult, manifest, ReadOptions()) == (
        "the patient is 64 years old, the bundle was made for at most 5 years; "
        "the patient's sex is M, the bundle was made for F; view is PA"
    )
    assert every_reason("view is PA", study(age="004Y"), manifest, ReadOptions()) == "view is PA"
    assert every_reason("view is PA", adult, manifest, allowed) == "view is PA"
