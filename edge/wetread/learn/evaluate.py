"""``wetread bundle evaluate``: how good a bundle is on labelled images, on the way and with the engine of a read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wetread.bundles import Bundle
from wetread.bundles.manifest import ScoreRule
from wetread.bundles.trust import TrustPolicy
from wetread.errors import DataUnusable, Misconfigured
from wetread.infer.gate.golden import film_of
from wetread.infer.model import Reader, open_model
from wetread.learn.cases import Case, Cases, Part
from wetread.learn.datalist import one_part
from wetread.learn.measures import Classification, classification
from wetread.learn.sources import Source, read_source
from wetread.learn.subgroups import Subgroup, subgroups
from wetread.records.output import Scores
from wetread.records.reading import EngineIdentity

Progress = Callable[[str, float], None]

PREFERRED: tuple[Part, ...] = ("test", "val")
NO_THRESHOLD = 0.5
"""Where a score has no operating point: what its figures at a threshold are measured at."""


@dataclass(frozen=True, slots=True)
class ScoreEvaluation:
    """One score of the bundle."""

    rule: ScoreRule
    measured: Classification
    subgroups: tuple[Subgroup, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What was measured, on what, with what."""

    bundle: Bundle
    engine: EngineIdentity
    source: Source
    part: str
    """``test``, ``val``, or ``all`` of a folder that makes no parts."""
    n: int
    scores: tuple[ScoreEvaluation, ...]
    labels: npt.NDArray[np.int64]
    """``(case, score)``."""
    answers: npt.NDArray[np.float64]
    """``(case, score)``, after the bundle's postprocessing."""
    seconds_per_image: float
    """Median, warm."""


def evaluate(
    bundle: Bundle,
    data: Path | Source,
    *,
    cache_folder: Path,
    engine: str = "auto",
    part: Part | None = None,
    trust: TrustPolicy | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Read every image as a study would be read, and compare with the labels.

    ``part``: of the data; default: ``test`` if there is one, else ``val``, else everything that is in no part.
    Raises: ``DataUnusable``, ``Misconfigured``, and what ``open_model`` raises.
    """
    tell = progress or (lambda _what, _share: None)
    rules = bundle.manifest.scores
    if not rules or len(bundle.manifest.inputs) != 1:
        raise Misconfigured(f"bundle {bundle.name} is no classifier of one image")
    source = read_source(data, bundle.manifest)
    name, cases = chosen_part(source, part)
    model = open_model(
        bundle, engine=engine, cache_folder=cache_folder, trust=trust, progress=lambda what, _: tell(what, 0.0)
    )
    try:
        answers, seconds = _answers(model, bundle, cases, tell)
        identity = model.identity
    finally:
        model.close()
    labels = np.array([case.targets for case in cases], np.int64)
    tell("resampling", 1.0)
    measured = tuple(_score(rule, cases, labels[:, index], answers[:, index]) for index, rule in enumerate(rules))
    return Evaluation(bundle, identity, source, name, len(cases), measured, labels, answers, seconds)


def chosen_part(source: Source, part: Part | None) -> tuple[str, Cases]:
    """Its name and its cases. Raises: ``DataUnusable``."""
    if part is None and not any(name in source.parts for name in PREFERRED) and source.unsplit:
        return "all", source.unsplit
    return one_part(dict(source.parts), (part,) if part else PREFERRED)


def _answers(
    model: Reader, bundle: Bundle, cases: Sequence[Case], tell: Progress
) -> tuple[npt.NDArray[np.float64], float]:
    """``(case, score)``, and the median of seconds for each image after the first."""
    rule = bundle.manifest.inputs[0]
    if rule.kind != "radiograph" or any(case.image.ndim != 2 for case in cases):
        raise DataUnusable(f"bundle {bundle.name} reads {rule.kind}s; only films are evaluated so far")
    rows, seconds = [], []
    for number, case in enumerate(cases):
        began = time.perf_counter()
        answer = model.run({rule.name: film_of(case.image, label=case.name)})
        seconds.append(time.perf_counter() - began)
        if not isinstance(answer, Scores):
            raise Misconfigured(f"bundle {bundle.name} answered with {type(answer).__name__}, expected scores")
        rows.append(answer.values)
        tell(f"reading {number + 1} of {len(cases)}", (number + 1) / len(cases))
    return np.array(rows, np.float64), float(np.median(seconds[1:] or seconds))


def _score(
    rule: ScoreRule,
    cases: Cases,
    labels: npt.NDArray[np.int64],
    answers: npt.NDArray[np.float64],
) -> ScoreEvaluation:
    threshold = NO_THRESHOLD if rule.threshold is None else rule.threshold
    measured = classification(labels, answers, threshold=threshold)
    return ScoreEvaluation(rule, measured, subgroups(cases, labels, answers, threshold=threshold))


def as_document(evaluation: Evaluation) -> Mapping[str, object]:
    """For ``--json``: the figures of the first score, or the means of several, at the top; details below."""
    first = evaluation.scores[0].measured
    names = [n for n in first.figures if all(n in score.measured.figures for score in evaluation.scores)]
    mean = {n: float(np.mean([score.measured.figures[n].value for score in evaluation.scores])) for n in names}
    return {
        "bundle": evaluation.bundle.name,
        "version": evaluation.bundle.version,
        "digest": evaluation.bundle.digest(),
        "engine": f"{evaluation.engine.name} {evaluation.engine.precision} {evaluation.engine.library_version}",
        "certificate": evaluation.engine.certificate,
        "data": {"path": str(evaluation.source.path), "sha256": evaluation.source.sha256, "part": evaluation.part},
        "n": evaluation.n,
        "passed_over": list(evaluation.source.notes),
        **mean,
        "seconds_per_image": evaluation.seconds_per_image,
        "scores": [_score_document(score) for score in evaluation.scores],
    }


def _score_document(score: ScoreEvaluation) -> dict[str, object]:
    measured = score.measured
    negative, false_alarm, missed, found = measured.confusion
    return {
        "name": score.rule.name,
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
        "reliability": [
            {"mean_score": r.mean_score, "share_positive": r.share_positive, "n": r.n} for r in measured.reliability
        ],
        "subgroups": [
            {"attribute": g.attribute, "value": g.value, "n": g.n, "n_positive": g.n_positive, **g.figures}
            for g in score.subgroups
        ],
    }
