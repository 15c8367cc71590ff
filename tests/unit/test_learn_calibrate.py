"""Temperature, offset and threshold: the numbers mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from wetread.learn.calibrate import Answers, fit

EMPTY = np.zeros(0)


def answers(*, scale: float = 1.0, shift: float = 0.0, positive: float = 0.5, n: int = 20_000) -> Answers:
    """Logits that are right when multiplied by ``1 / scale`` and moved by ``-shift / scale``."""
    random = np.random.default_rng(0)
    labels = (random.random(n) < positive).astype(np.int64)
    right = random.normal(np.where(labels == 1, 1.0, -1.0), np.sqrt(2.0))  # two normals: the logit is the value itself
    prior = np.log(positive / (1 - positive))
    return Answers((right + prior) * scale + shift, labels, EMPTY, EMPTY.astype(np.int64))


def test_temperature_and_offset_are_found_again() -> None:
    found = fit(answers(scale=3.0, shift=1.5), prevalence=0.5, specificity=0.95)
    assert found.temperature == pytest.approx(3.0, rel=0.05)
    assert found.offset == pytest.approx(-0.5, abs=0.05)


def test_probabilities_are_for_the_expected_share_of_positive_cases() -> None:
    # Three quarters of these are positive, 60 % are where it will be used: the odds move by their ratio.
    found = fit(answers(positive=0.75), prevalence=0.6, specificity=0.95)
    assert found.offset == pytest.approx(np.log(0.6 / 0.4) - np.log(0.75 / 0.25), abs=0.05)


def test_threshold_has_the_specificity_it_was_chosen_for() -> None:
    given = answers()
    found = fit(given, prevalence=0.5, specificity=0.97)
    called = found.probabilities(given.logits) >= found.threshold
    specificity = 1 - called[given.labels == 0].mean()
    assert 0.97 <= specificity < 0.975


def test_changed_copies_decide_where_there_are_any() -> None:
    easy, hard = answers(scale=4.0), answers(scale=4.0)
    noisy = hard.logits + np.random.default_rng(1).normal(0, 6.0, len(hard.logits))
    both = Answers(easy.logits, easy.labels, noisy, hard.labels)
    alone = fit(easy, prevalence=0.5, specificity=0.95, strength=2.0)
    found = fit(both, prevalence=0.5, specificity=0.95, strength=2.0)
    assert found == fit(Answers(noisy, hard.labels, noisy, hard.labels), prevalence=0.5, specificity=0.95, strength=2.0)
    assert found.temperature > 1.2 * alone.temperature
    assert (alone.strength, found.strength) == (0.0, 2.0)
