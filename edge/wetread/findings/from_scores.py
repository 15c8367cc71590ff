"""Scores become conditions: one for each score rule of the bundle, whatever the score."""

from __future__ import annotations

import math
from dataclasses import replace

from wetread.bundles import Bundle
from wetread.bundles.manifest import ScoreRule
from wetread.errors import OutputInvalid
from wetread.findings.measure import certainty
from wetread.findings.tracking import tracking_uid
from wetread.findings.wording import words_for
from wetread.records.finding import Condition
from wetread.records.model_input import ModelInput
from wetread.records.output import Scores
from wetread.records.spread import Spread

_ROUNDING = 1e-6
"""A float32 softmax may exceed 1 by as much."""


def read_scores(scores: Scores, image: ModelInput, bundle: Bundle) -> tuple[Condition, ...]:
    """Code every score.

    Raises: ``OutputInvalid`` when there is not one score for each rule, or one is not a number from 0 to 1.
    """
    rules = bundle.manifest.scores
    if len(scores.values) != len(rules):
        raise OutputInvalid(f"bundle {bundle.name} answered with {len(scores.values)} scores, it declares {len(rules)}")
    found = tuple(
        _condition(rule, checked_score(value, rule.name), image, bundle.name)
        for rule, value in zip(rules, scores.values, strict=True)
    )
    if not scores.spreads:
        return found
    return tuple(replace(c, spread=_checked(s, c.name)) for c, s in zip(found, scores.spreads, strict=True))


def _checked(spread: Spread, name: str) -> Spread:
    return replace(spread, values=tuple(checked_score(value, name) for value in spread.values))


def checked_score(value: float, name: str) -> float:
    """``value``, a rounding error beyond 0 and 1 cut off. Raises: ``OutputInvalid``."""
    score = float(value)
    if not math.isfinite(score) or not -_ROUNDING <= score <= 1.0 + _ROUNDING:
        raise OutputInvalid(f"the score of {name!r} is {score:g}, expected 0 to 1: is the last activation missing?")
    return min(max(score, 0.0), 1.0)


def _condition(rule: ScoreRule, score: float, image: ModelInput, bundle: str) -> Condition:
    return Condition(
        name=rule.name,
        type=rule.condition.term(),
        score=score,
        threshold=rule.threshold,
        calibrated=rule.calibrated,
        measurements=(certainty(score),),
        tracking_id=f"{rule.name} ({bundle})",
        tracking_uid=tracking_uid(image, bundle, "score", rule.index),
        site=rule.site.term() if rule.site else None,
        words=words_for(score, rule),
    )
