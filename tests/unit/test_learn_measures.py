"""Figures against ones worked out by hand, and what the intervals mean."""

from __future__ import annotations

import numpy as np
import pytest

from wetread.learn.bootstrap import counted_figures, stratified_counts
from wetread.learn.cases import Case
from wetread.learn.measures import BINS, classification, expected_calibration_error, reliability
from wetread.learn.subgroups import subgroups

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
SCORES = np.array([0.05, 0.15, 0.25, 0.65, 0.35, 0.75, 0.85, 0.95])


def test_figures_are_those_worked_out_by_hand() -> None:
    measured = classification(LABELS, SCORES, threshold=0.5, resamples=0)
    values = {name: figure.value for name, figure in measured.figures.items()}
    assert measured.confusion == (3, 1, 1, 3)
    assert values["auroc"] == pytest.approx(15 / 16)  # one of the 16 pairs is in the wrong order
    for name in ("accuracy", "precision", "recall", "specificity", "f1"):
        assert values[name] == pytest.approx(0.75)
    assert values["brier"] == pytest.approx(np.mean((SCORES - LABELS) ** 2))


def test_a_case_at_the_threshold_counts_as_present() -> None:
    measured = classification(LABELS, SCORES, threshold=0.65, resamples=0)
    assert measured.confusion == (3, 1, 1, 3)


def test_recall_and_specificity_are_not_exchanged() -> None:
    measured = classification(LABELS, SCORES, threshold=0.9, resamples=0)
    assert measured.figures["specificity"].value == 1.0
    assert measured.figures["recall"].value == 0.25


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    # Ten times 0.8 of which eight are so: no error. Ten times 0.3 of which none is: 0.3. Half of the cases each.
    scores = np.array([0.8] * 10 + [0.3] * 10)
    labels = np.array([1] * 8 + [0] * 12)
    assert expected_calibration_error(labels, scores) == pytest.approx(0.15)
    said = {round(r.mean_score, 2): (round(r.share_positive, 2), r.n) for r in reliability(labels, scores)}
    assert said == {0.3: (0.0, 10), 0.8: (0.8, 10)}


def test_a_score_of_one_belongs_to_the_last_bin() -> None:
    assert expected_calibration_error(np.array([1, 1]), np.array([1.0, 1.0])) == 0.0


def test_interval_holds_the_figure_and_shrinks_with_more_cases() -> None:
    random = np.random.default_rng(3)

    def width(n: int) -> float:
        labels = np.arange(n) % 2
        scores = np.clip(random.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
        figure = classification(labels, scores, threshold=0.5, resamples=60).figures["auroc"]
        assert figure.low < figure.value < figure.high
        return figure.high - figure.low

    assert width(600) < 0.7 * width(60)


def test_draws_have_the_figures_that_the_drawn_cases_have() -> None:
    """Two ways: scikit-learn on the cases, each as often as it was drawn; and all draws at once from the counts."""
    random = np.random.default_rng(5)
    labels = np.arange(60) % 2
    scores = np.clip(np.round(random.normal(0.35 + 0.3 * labels, 0.3), 1), 0, 1)  # many ties
    called = scores >= random.uniform(0.3, 0.7, 60)
    (counts,) = stratified_counts(labels, 7, seed=1)
    assert counts[:, labels == 1].sum(1).tolist() == [30.0] * 7
    said = counted_figures(counts, labels, scores, called, np.eye(BINS)[np.minimum((scores * BINS).astype(int), 9)])
    for draw, often in enumerate(counts.astype(int)):
        cases = np.repeat(np.arange(60), often)
        threshold = np.where(called[cases], 0.0, 2.0)
        expected = classification(labels[cases], scores[cases], threshold=threshold, resamples=0).figures
        assert {name: values[draw] for name, values in said.items()} == {
            name: pytest.approx(figure.value) for name, figure in expected.items()
        }


def test_same_seed_draws_the_same_interval() -> None:
    first, second = (classification(LABELS, SCORES, threshold=0.5, resamples=50, seed=4) for _ in range(2))
    assert first == second


def test_cases_of_one_class_have_no_ranking_figures() -> None:
    measured = classification(np.ones(4, int), SCORES[4:], threshold=0.5, resamples=10)
    assert "auroc" not in measured.figures
    assert "auprc" not in measured.figures
    assert measured.figures["recall"].value == 0.75


def test_figures_that_cases_do_not_define_are_left_out() -> None:
    healthy = classification(np.zeros(4, int), np.full(4, 0.1), threshold=0.5, resamples=10)
    assert {"recall", "precision", "f1", "auroc"}.isdisjoint(healthy.figures)
    assert healthy.figures["specificity"].value == 1.0
    nothing_called = classification(LABELS, np.zeros(len(LABELS)), threshold=0.5, resamples=10)
    assert "precision" not in nothing_called.figures
    assert nothing_called.figures["f1"].value == nothing_called.figures["recall"].value == 0.0


def test_subgroups_are_measured_apart_and_unknown_is_a_group() -> None:
    sex = ["F", "M", "F", "M", "F", "M", "F", ""]
    ages = ["1.5", "3", "3", "70", "5.9", "3", "17", ""]
    cases = [
        Case(str(i), np.zeros((2, 2), np.float32), about={"sex": s, "age_years": a})
        for i, (s, a) in enumerate(zip(sex, ages, strict=True))
    ]
    found = {(g.attribute, g.value): g for g in subgroups(cases, LABELS, SCORES, threshold=0.5)}
    assert {value for attribute, value in found if attribute == "sex"} == {"F", "M", "not known"}
    assert [v for a, v in found if a == "age_years"] == [
        "1 year",
        "2 to 5 years",
        "6 to 17 years",
        "65 years and older",
        "not known",
    ]
    assert (found["sex", "F"].n, found["sex", "F"].n_positive) == (4, 2)
    assert found["sex", "F"].figures["specificity"] == 1.0
    assert found["sex", "M"].figures["specificity"] == 0.5
    assert "specificity" not in found["sex", "not known"].figures
