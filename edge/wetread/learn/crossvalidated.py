"""What a cross-validation says: every case by a network that saw neither it nor its patient, where one is named."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from wetread.bundles import Bundle
from wetread.bundles.manifest import ScoreRule
from wetread.errors import Misconfigured
from wetread.learn.card import record_figures
from wetread.learn.cases import Cases
from wetread.learn.measures import Classification, Labels, Probabilities, classification, figures_document, in_words
from wetread.learn.sources import Source


@dataclass(frozen=True, slots=True, eq=False)
class FoldAnswers:
    """What the network of one fold said about the cases that it was trained without."""

    number: int
    """From 1."""
    left_out: tuple[int, ...]
    """Indices of the cases."""
    answers: Probabilities
    """``(case, score)``, after the bundle's postprocessing."""
    thresholds: tuple[float, ...]
    """For each score, chosen without these cases."""
    cases: Mapping[str, int]
    """How many ``train``, ``val`` and ``left_out``."""
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over the folds."""

    mean: float
    deviation: float
    """Standard deviation of the folds, not of the mean."""
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """At least two values."""
        return cls(fmean(values), stdev(values), min(values), max(values))


@dataclass(frozen=True, slots=True, eq=False)
class ScoreFolds:
    """One score of the bundle."""

    rule: ScoreRule
    labels: Labels
    scores: Probabilities
    thresholds: Probabilities
    """``(case,)``, all three in the order of the folds."""
    pooled: Classification
    folds: tuple[Classification, ...]
    spread: Mapping[str, Spread]

    @classmethod
    def of(cls, rule: ScoreRule, index: int, labels: npt.NDArray[np.int64], folds: Sequence[FoldAnswers]) -> ScoreFolds:
        """Measure score number ``index``; ``labels``: ``(case, score)``."""
        truth = [labels[list(fold.left_out), index] for fold in folds]
        said = [fold.answers[:, index] for fold in folds]
        limits = [np.full(len(one), fold.thresholds[index]) for one, fold in zip(said, folds, strict=True)]
        each = tuple(
            classification(of, by, threshold=fold.thresholds[index])
            for of, by, fold in zip(truth, said, folds, strict=True)
        )
        joined = [np.concatenate(parts) for parts in (truth, said, limits)]
        pooled = classification(joined[0], joined[1], threshold=joined[2])
        names = [name for name in pooled.figures if all(name in one.figures for one in each)]
        spread = {name: Spread.of([one.figures[name].value for one in each]) for name in names}
        return cls(rule, joined[0], joined[1], joined[2], pooled, each, spread)


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidation:
    """All folds of one bundle."""

    bundle: Bundle
    source: Source
    folds: tuple[FoldAnswers, ...]
    seed: int
    command: str
    scores: tuple[ScoreFolds, ...]

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        source: Source,
        cases: Cases,
        folds: tuple[FoldAnswers, ...],
        *,
        seed: int,
        command: tuple[str, ...],
    ) -> CrossValidation:
        """Measure."""
        labels = np.array([case.targets for case in cases], np.int64)
        scores = tuple(ScoreFolds.of(rule, index, labels, folds) for index, rule in enumerate(bundle.manifest.scores))
        return cls(bundle, source, folds, seed, shlex.join(command), scores)

    @property
    def n(self) -> int:
        """Cases of all folds."""
        return sum(len(fold.left_out) for fold in self.folds)

    def document(self) -> dict[str, Any]:
        """For ``--json``: the figures of all folds together at the top, of the first score; all scores below."""
        first = self.scores[0].pooled
        return {
            "bundle": self.bundle.name,
            "version": self.bundle.version,
            "command": self.command,
            "data": {"name": self.source.path.name, "sha256": self.source.sha256},
            "seed": self.seed,
            "n": self.n,
            **{name: figure.value for name, figure in first.figures.items()},
            "cpu_s": round(sum(fold.cpu_s for fold in self.folds), 1),
            "scores": [{"name": score.rule.name, **self.score_document(score)} for score in self.scores],
        }

    def in_words(self) -> dict[str, list[str]]:
        """For people: each score with its figures and their spread."""
        found: dict[str, list[str]] = {}
        for score in self.scores:
            spread = [
                f"{name} {s.mean:.3f} ± {s.deviation:.3f}, {s.lowest:.3f} to {s.highest:.3f}"
                for name, s in sorted(score.spread.items())
            ]
            found |= {score.rule.name: in_words(score.pooled), "folds (mean ± SD, range)": spread}
        return found

    def record(self) -> None:
        """Put the figures into the bundle's ``training/metrics.json`` and model card.

        Raises: ``Misconfigured`` for a bundle with several scores, or without that file.
        """
        if len(self.scores) != 1:
            raise Misconfigured(f"{self.bundle.name} has {len(self.scores)} scores; figures of one can be recorded")
        found = self.score_document(self.scores[0])
        about = {"command": self.command, "seed": self.seed, "data_sha256": self.source.sha256}
        record_figures(self.bundle.folder, "cross_validation", {**about, **found})

    def score_document(self, score: ScoreFolds) -> dict[str, Any]:
        """All folds together, their spread, and each."""
        return {
            **figures_document(score.pooled),
            "spread": {
                name: {"mean": s.mean, "deviation": s.deviation, "lowest": s.lowest, "highest": s.highest}
                for name, s in score.spread.items()
            },
            "folds": [
                {"fold": fold.number, "cases": dict(fold.cases), **figures_document(measured)}
                for fold, measured in zip(self.folds, score.folds, strict=True)
            ],
        }
