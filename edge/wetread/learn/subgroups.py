"""The same figures for groups of patients and devices, as far as the data say who they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wetread.learn.cases import Case, known
from wetread.learn.mask_measures import MaskFigures, mean_figures
from wetread.learn.measures import Labels, Probabilities, classification

_AGES = ((1, "under 1 year"), (2, "1 year"), (6, "2 to 5 years"), (18, "6 to 17 years"), (65, "18 to 64 years"))
_OLDEST = "65 years and older"
_SHOWN = ("auroc", "accuracy", "recall", "specificity")


@dataclass(frozen=True, slots=True)
class Subgroup:
    """One group: few cases say little, so the number stands first."""

    attribute: str
    value: str
    n: int
    n_positive: int
    figures: Mapping[str, float]
    """``auroc`` is missing where the group has one class alone; ``recall`` and ``specificity`` likewise."""


@dataclass(frozen=True, slots=True)
class MaskSubgroup:
    """One group of cases of a segmentation."""

    attribute: str
    value: str
    n: int
    figures: Mapping[str, float]
    """Means; a figure that no case of the group has is missing."""


def subgroups(
    cases: Sequence[Case], labels: Labels, scores: Probabilities, *, threshold: float
) -> tuple[Subgroup, ...]:
    """By sex, age, manufacturer and pixel spacing; cases that say nothing are the group ``not known``."""
    found = []
    for attribute, value, inside in _groups(cases):
        measured = classification(labels[inside], scores[inside], threshold=threshold, resamples=0)
        figures = {n: measured.figures[n].value for n in _SHOWN if n in measured.figures}
        found.append(Subgroup(attribute, value, measured.n, measured.n_positive, figures))
    return tuple(found)


def mask_subgroups(cases: Sequence[Case], figures: Sequence[MaskFigures]) -> tuple[MaskSubgroup, ...]:
    """By the same attributes; ``figures``: of one structure, for each case."""
    found = []
    for attribute, value, inside in _groups(cases):
        some = [of for of, taken in zip(figures, inside, strict=True) if taken]
        found.append(MaskSubgroup(attribute, value, len(some), mean_figures(some)))
    return tuple(found)


def _groups(cases: Sequence[Case]) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """Attribute, group, and which cases are in it, ``(case,)``."""
    for attribute in ("sex", "age_years", "manufacturer", "spacing_mm"):
        if not known(cases, attribute):
            continue
        values = np.array([_group(attribute, case.about.get(attribute, "")) for case in cases])
        for value in _in_order(attribute, values.tolist()):
            yield attribute, value, values == value


def _group(attribute: str, value: str) -> str:
    try:
        number = float(value) if attribute in ("age_years", "spacing_mm") else 0.0
    except ValueError:
        return "not known"
    if not value:
        return "not known"
    if attribute == "age_years":
        return next((name for below, name in _AGES if number < below), _OLDEST)
    if attribute == "spacing_mm":
        return f"{np.floor(number * 10) / 10:.1f} to {np.floor(number * 10) / 10 + 0.1:.1f} mm"
    return value


def _in_order(attribute: str, values: Sequence[str]) -> Iterator[str]:
    order = [name for _, name in _AGES] + [_OLDEST] if attribute == "age_years" else []
    yield from sorted(set(values), key=lambda v: (v == "not known", order.index(v) if v in order else 0, v))
