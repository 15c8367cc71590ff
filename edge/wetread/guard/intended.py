"""The bundle's intended use against one study: the patient's age and sex, the spacing of the volume."""

from __future__ import annotations

import re
from datetime import date

from wetread.bundles.manifest import InputRule, PatientRule, Range
from wetread.errors import NotIntended
from wetread.records.model_input import ModelInput
from wetread.records.radiograph import Radiograph
from wetread.records.study import StudyRef

_AGE = re.compile(r"(\d{3})([DWMY])")
_DAYS_PER_YEAR = 365.25
_YEARS_PER_UNIT = {"D": 1 / _DAYS_PER_YEAR, "W": 7 / _DAYS_PER_YEAR, "M": 1 / 12, "Y": 1.0}
_MICROMETRES = 3
"""Spacings are compared in whole micrometres: a spacing computed from positions is never exactly the nominal one."""


def check_patient(study: StudyRef, rule: PatientRule) -> None:
    """Refuse a study of a patient for whom the bundle was not made. Raises: ``NotIntended``."""
    check_age(study, rule)
    check_sex(study, rule)


def check_sex(study: StudyRef, rule: PatientRule) -> None:
    """A sex that the study does not give is not one of those that the bundle names. Raises: ``NotIntended``."""
    sex = study.patient.sex.upper()
    if rule.sex and sex not in {value.upper() for value in rule.sex}:
        found = f"the patient's sex is {sex}" if sex else "the study does not give the patient's sex"
        raise NotIntended(f"{found}, the bundle was made for {' or '.join(rule.sex)}")


def check_spacing(image: ModelInput, rule: InputRule) -> None:
    """Refuse an image whose slices or pixels are further apart, or closer, than the bundle was made for.

    A film that does not say its spacing passes.
    Raises: ``NotIntended``.
    """
    if image.spacing_mm is None:
        return
    label = image.series.label
    row_mm, column_mm = (round(value, _MICROMETRES) for value in image.spacing_mm[-2:])
    if not isinstance(image, Radiograph):
        slice_mm = round(image.spacing_mm[0], _MICROMETRES)
        if not rule.slice_spacing_mm.holds(slice_mm):
            raise NotIntended(
                f"{label}: slices are {slice_mm:g} mm apart, the bundle was made for {rule.slice_spacing_mm} mm"
            )
    if not (rule.pixel_spacing_mm.holds(row_mm) and rule.pixel_spacing_mm.holds(column_mm)):
        raise NotIntended(
            f"{label}: pixels are {row_mm:g} × {column_mm:g} mm apart (rows × columns), the bundle was made for "
            f"{rule.pixel_spacing_mm} mm"
        )


def age_years(study: StudyRef) -> float | None:
    """The patient's age at the study, or ``None`` when the study does not tell.

    From dates: whole years, as Patient's Age counts them; below two years in days.
    """
    match = _AGE.fullmatch(study.patient_age)
    if match:
        return int(match[1]) * _YEARS_PER_UNIT[match[2]]
    born, studied = _date(study.patient.birth_date), _date(study.date)
    if born is None or studied is None or studied < born:
        return None
    whole_years = studied.year - born.year - ((studied.month, studied.day) < (born.month, born.day))
    return float(whole_years) if whole_years >= 2 else (studied - born).days / _DAYS_PER_YEAR


def check_age(study: StudyRef, rule: PatientRule) -> None:
    """From Patient's Age, else from birth and study date. Raises: ``NotIntended``."""
    if rule.age_years == Range():
        return
    age = age_years(study)
    if age is None:
        if rule.unknown_age == "reject":
            raise NotIntended(
                "the study gives neither the patient's age nor birth and study date, the bundle was made for "
                f"{rule.age_years} years"
            )
        return
    if not rule.age_years.holds(age):
        raise NotIntended(f"the patient is {age:.3g} years old, the bundle was made for {rule.age_years} years")


def _date(value: str) -> date | None:
    try:
        return date(int(value[:4]), int(value[4:6]), int(value[6:])) if re.fullmatch(r"\d{8}", value) else None
    except ValueError:  # 31 February, or the year 0 that some sites write for "unknown"
        return None
