"""Every figure of many draws of the same cases at once: a thousand draws of 5,000 cases in a second.

What scikit-learn says about one set of cases, for sets that are given as how often each case was drawn; the tests hold
the two against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
_BLOCK = 100
"""Draws at a time: of 5,000 cases some 4 MB for each array."""


def stratified_counts(labels: npt.NDArray[np.int64], draws: int, *, seed: int) -> Iterator[Numbers]:
    """How often each case was drawn, ``(draw, case)`` block by block; from each class as many as there are."""
    random = np.random.default_rng(seed)
    for start in range(0, draws, _BLOCK):
        counts = np.zeros((min(_BLOCK, draws - start), len(labels)))
        for label in np.unique(labels):
            (members,) = np.nonzero(labels == label)
            share = np.full(len(members), 1 / len(members))
            counts[:, members] = random.multinomial(len(members), share, size=len(counts))
        yield counts


def counted_figures(
    counts: Numbers, labels: npt.NDArray[np.int64], scores: Numbers, called: npt.NDArray[np.bool_], bins: Numbers
) -> Mapping[str, Numbers]:
    """Each figure, ``(draw,)``; ``auroc`` and ``auprc`` where both classes are there.

    ``called``: ``(case,)``, what counts as present. ``bins``: ``(case, bin)``, 1 for the bin of its score.
    """
    positive = labels == 1
    found, missed, alarms, absent = (
        counts @ ((positive == is_positive) & (called == is_called))
        for is_positive, is_called in ((True, True), (True, False), (False, True), (False, False))
    )
    gaps = np.abs(counts @ (bins * (scores - labels)[:, None]))
    figures = {
        "accuracy": _share(found + absent, alarms + missed),
        "precision": _share(found, alarms),
        "recall": _share(found, missed),
        "specificity": _share(absent, alarms),
        "f1": _share(2 * found, alarms + missed),
        "ece": gaps.sum(1) / counts.sum(1),
        "brier": counts @ (scores - labels) ** 2 / counts.sum(1),
    }
    if positive.any() and not positive.all():
        figures |= _ranking(counts, positive, scores)
    return figures


def _ranking(counts: Numbers, positive: npt.NDArray[np.bool_], scores: Numbers) -> dict[str, Numbers]:
    """Area under the ROC curve (ties count half) and average precision, from the highest score downwards."""
    order = np.argsort(-scores, kind="stable")
    firsts = np.concatenate([[0], np.flatnonzero(np.diff(scores[order])) + 1])
    here = counts[:, order]
    right = np.add.reduceat(here * positive[order], firsts, axis=1)
    wrong = np.add.reduceat(here * ~positive[order], firsts, axis=1)
    rights, wrongs = right.cumsum(1), wrong.cumsum(1)
    precision = rights / np.maximum(rights + wrongs, 1)
    return {
        "auroc": ((rights - right / 2) * wrong).sum(1) / (rights[:, -1] * wrongs[:, -1]),
        "auprc": (right * precision).sum(1) / rights[:, -1],
    }


def _share(part: Numbers, rest: Numbers) -> Numbers:
    """0 for a draw in which there is nothing to share."""
    return part / np.maximum(part + rest, 1)
