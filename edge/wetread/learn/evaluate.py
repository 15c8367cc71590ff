"""``wetread bundle evaluate``: how good a classifier is on labelled films, on the way and with the engine of a read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wetread.bundles import Bundle
from wetread.bundles.manifest import ScoreRule
from wetread.errors import DataUnusable, Misconfigured
from wetread.infer.gate.golden import film_of
from wetread.learn.card import record_figures
from wetread.learn.cases import Case, Cases, Part
from wetread.learn.measured import HowRead, Measured, means, measurable, told
from wetread.learn.measures import Classification, classification, figures_document, in_words
from wetread.learn.sources import Source
from wetread.learn.subgroups import Subgroup, subgroups
from wetread.records.output import Scores
from wetread.records.reading import EngineIdentity

NO_THRESHOLD = 0.5
"""Where a score has no operating point: what its figures at a threshold are measured at."""

RECORDED = {"val": "validation", "test": "test"}
"""Part of the data → part of ``training/metrics.json``."""


@dataclass(frozen=True, slots=True)
class ScoreEvaluation:
    """One score of the bundle."""

    rule: ScoreRule
    measured: Classification
    subgroups: tuple[Subgroup, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation(Measured):
    """Of a classifier."""

    scores: tuple[ScoreEvaluation, ...]
    labels: npt.NDArray[np.int64]
    """``(case, score)``."""
    answers: npt.NDArray[np.float64]
    """``(case, score)``, after the bundle's postprocessing."""
    seconds_per_image: float
    """Median, warm."""

    def document(self) -> Mapping[str, object]:
        """The figures of the first score, or the means of several, at the top; details below."""
        return {
            **self.heading(),
            **means([score.measured.figures for score in self.scores]),
            "seconds_per_image": self.seconds_per_image,
            "scores": [_score_document(score) for score in self.scores],
        }

    def in_words(self) -> Mapping[str, Sequence[str]]:
        """Each score with its figures."""
        time_taken = {"time": [f"{self.seconds_per_image * 1000:.1f} ms for an image"]}
        return time_taken | {score.rule.name: in_words(score.measured) for score in self.scores}

    def record(self, command: str) -> None:
        """Put the figures into the bundle's ``training/metrics.json`` and model card; ``command``: that made them.

        Raises: ``Misconfigured`` for a bundle with several scores, data without parts, or no such file.
        """
        if len(self.scores) != 1 or self.part not in RECORDED:
            raise Misconfigured(
                f"figures of one score on the validation or test part are recorded, got {len(self.scores)} scores on "
                f"the {self.part} part"
            )
        about = {"command": command, "engine": self.engine_in_words, "data_sha256": self.source.sha256}
        found = figures_document(self.scores[0].measured)
        record_figures(self.bundle.folder, RECORDED[self.part], {**about, **found})


def evaluate(bundle: Bundle, data: Path | Source, how: HowRead, *, part: Part | None = None) -> Evaluation:
    """Read every film as a study would be read, and compare with the labels.

    Raises: ``DataUnusable``, ``Misconfigured``, and what ``open_model`` raises.
    """
    rules = bundle.manifest.scores
    source, name, cases = measurable(bundle, data, part, answers=rules, kind="classifier")
    answers, seconds, identity = read_films(bundle, cases, how)
    labels = np.array([case.targets for case in cases], np.int64)
    how.progress("resampling", 1.0)
    measured = tuple(_score(rule, cases, labels[:, index], answers[:, index]) for index, rule in enumerate(rules))
    return Evaluation(bundle, identity, source, name, len(cases), measured, labels, answers, seconds)


def read_films(bundle: Bundle, cases: Cases, how: HowRead) -> tuple[npt.NDArray[np.float64], float, EngineIdentity]:
    """``(case, score)``, the median of seconds for each film after the first, and what read them.

    Raises: ``DataUnusable`` for volumes, ``Misconfigured``, and what ``open_model`` raises.
    """
    rule = bundle.manifest.inputs[0]
    if rule.kind != "radiograph" or any(case.image.ndim != 2 for case in cases):
        raise DataUnusable(f"bundle {bundle.name} reads {rule.kind}s; of classifiers only those of films are evaluated")
    rows, seconds = [], []
    # How steady each score is takes longer than the score, and is measured by nobody here.
    plain = replace(bundle, manifest=bundle.manifest.model_copy(update={"uncertainty": None}))
    with how.opened(plain) as model:
        for case in told(cases, how.progress):
            began = time.perf_counter()
            answer = model.run({rule.name: film_of(case.image, label=case.name)})
            seconds.append(time.perf_counter() - began)
            if not isinstance(answer, Scores):
                raise Misconfigured(f"bundle {bundle.name} answered with {type(answer).__name__}, expected scores")
            rows.append(answer.values)
        return np.array(rows, np.float64), float(np.median(seconds[1:] or seconds)), model.identity


def _score(
    rule: ScoreRule,
    cases: Sequence[Case],
    labels: npt.NDArray[np.int64],
    answers: npt.NDArray[np.float64],
) -> ScoreEvaluation:
    threshold = NO_THRESHOLD if rule.threshold is None else rule.threshold
    measured = classification(labels, answers, threshold=threshold)
    return ScoreEvaluation(rule, measured, subgroups(cases, labels, answers, threshold=threshold))


def _score_document(score: ScoreEvaluation) -> dict[str, object]:
    return {
        "name": score.rule.name,
        **figures_document(score.measured),
        "reliability": [
            {"mean_score": r.mean_score, "share_positive": r.share_positive, "n": r.n}
            for r in score.measured.reliability
        ],
        "subgroups": [
            {"attribute": g.attribute, "value": g.value, "n": g.n, "n_positive": g.n_positive, **g.figures}
            for g in score.subgroups
        ],
    }
