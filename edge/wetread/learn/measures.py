"""How good a classifier's scores are: each figure with its bootstrap interval. scikit-learn does the arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from wetread.learn.bootstrap import counted_figures, stratified_counts
from wetread.records.numbers import number_of

Labels = npt.NDArray[np.int64]
"""``(case,)``, 0 or 1."""
Probabilities = npt.NDArray[np.float64]
"""``(case,)``, 0 to 1."""

BINS = 10
RESAMPLES = 1000
"""Draws where nobody asks for another number."""
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Figure:
    """One number and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Reliability:
    """Cases of one bin of scores: what the model said, and how often it was so."""

    mean_score: float
    share_positive: float
    n: int


@dataclass(frozen=True, slots=True)
class Classification:
    """What is known about one score of a classifier on one set of cases."""

    n: int
    n_positive: int
    threshold: float
    """The mean, where cases had different ones."""
    figures: Mapping[str, Figure]
    """``auroc``, ``auprc``, ``accuracy``, ``precision``, ``recall``, ``specificity``, ``f1``, ``ece``, ``brier``. What
    the cases do not define is missing: of one class alone ``auroc`` and ``auprc``, of none present ``recall``."""
    confusion: tuple[int, int, int, int]
    """True negative, false positive, false negative, true positive at the threshold."""
    reliability: tuple[Reliability, ...]


def classification(
    labels: Labels,
    scores: Probabilities,
    *,
    threshold: float | Probabilities,
    resamples: int | None = None,
    seed: int = 0,
) -> Classification:
    """Measure one score. Bootstrap: cases are drawn again within each class, so that no draw lacks one.

    A case counts as positive from ``threshold`` upwards; ``(case,)`` where several networks each judged with its own.
    """
    thresholds = np.broadcast_to(np.asarray(threshold, np.float64), scores.shape)
    values = _values(labels, scores, thresholds)
    tail = (1 - LEVEL) / 2
    drawn = _drawn(labels, scores, scores >= thresholds, RESAMPLES if resamples is None else resamples, seed)
    figures = {
        name: Figure(value, *np.quantile([value, *drawn.get(name, ())], [tail, 1 - tail]).tolist())
        for name, value in values.items()
    }
    table = _table(labels, scores, thresholds).tolist()
    return Classification(
        n=len(labels),
        n_positive=int(labels.sum()),
        threshold=float(np.mean(threshold)),
        figures=figures,
        confusion=(table[0], table[1], table[2], table[3]),
        reliability=reliability(labels, scores),
    )


def _drawn(
    labels: Labels, scores: Probabilities, called: npt.NDArray[np.bool_], draws: int, seed: int
) -> Mapping[str, npt.NDArray[np.float64]]:
    """Each figure of each draw, ``(draw,)``."""
    bins = np.eye(BINS)[_bin(scores, BINS)]
    blocks = [
        counted_figures(counts, labels, scores, called, bins) for counts in stratified_counts(labels, draws, seed=seed)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in (blocks[0] if blocks else ())}


def figures_document(measured: Classification) -> dict[str, object]:
    """For JSON: figures with their intervals and the counts at the threshold."""
    negative, false_alarm, missed, found = measured.confusion
    return {
        "n": measured.n,
        "n_positive": measured.n_positive,
        "threshold": measured.threshold,
        "figures": {name: figure.value for name, figure in measured.figures.items()},
        "intervals_95": {name: [figure.low, figure.high] for name, figure in measured.figures.items()},
        "confusion": {
            "true_negative": negative,
            "false_positive": false_alarm,
            "false_negative": missed,
            "true_positive": found,
        },
    }


def in_words(measured: Classification) -> list[str]:
    """For people: one line on the cases, one for each figure."""
    negative, false_alarm, missed, found = measured.confusion
    counts = f"{found} found, {missed} missed, {false_alarm} false alarms, {negative} rightly absent"
    rows = [f"{name} {figure}" for name, figure in sorted(measured.figures.items())]
    return [
        f"{number_of(measured.n, 'image')}, {measured.n_positive} positive; at {measured.threshold:.3f}: {counts}",
        *rows,
    ]


def reliability(labels: Labels, scores: Probabilities, *, bins: int = BINS) -> tuple[Reliability, ...]:
    """Bins of equal width; empty ones are left out."""
    index = _bin(scores, bins)
    return tuple(
        Reliability(float(scores[index == k].mean()), float(labels[index == k].mean()), int((index == k).sum()))
        for k in np.unique(index)
    )


def expected_calibration_error(labels: Labels, scores: Probabilities, *, bins: int = BINS) -> float:
    """Mean distance between what was said and how often it was so, weighted by cases (Naeini et al. 2015)."""
    index = _bin(scores, bins)
    weight = np.bincount(index, minlength=bins)
    gap = np.abs(np.bincount(index, scores, bins) - np.bincount(index, labels, bins))
    return float(gap.sum() / weight.sum())


def _bin(scores: Probabilities, bins: int) -> npt.NDArray[np.int64]:
    return np.minimum((scores * bins).astype(np.int64), bins - 1)


def _values(labels: Labels, scores: Probabilities, thresholds: Probabilities) -> dict[str, float]:
    """Every figure of one set of cases that they define."""
    wrong, false_alarm, missed, found = map(int, _table(labels, scores, thresholds))
    shares = {
        "accuracy": (found + wrong, false_alarm + missed),
        "precision": (found, false_alarm),
        "recall": (found, missed),
        "specificity": (wrong, false_alarm),
        "f1": (2 * found, false_alarm + missed),
    }
    values = {name: part / (part + rest) for name, (part, rest) in shares.items() if part + rest}
    values |= {
        "ece": expected_calibration_error(labels, scores),
        "brier": float(np.mean((scores - labels) ** 2)),
    }
    if len(np.unique(labels)) > 1:
        values |= {
            "auroc": float(roc_auc_score(labels, scores)),
            "auprc": float(average_precision_score(labels, scores)),
        }
    return values


def _table(labels: Labels, scores: Probabilities, thresholds: Probabilities) -> npt.NDArray[np.int64]:
    """True negative, false positive, false negative, true positive."""
    return np.bincount(2 * labels + (scores >= thresholds), minlength=4)
