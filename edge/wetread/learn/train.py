"""``wetread bundle train``: from labelled images to a new version of a bundle.

data ─▶ splits ─▶ MONAI's trainer (of each fold, then of all) ─▶ calibration ─▶ measures ─▶ the new version's folder
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from wetread.bundles import Bundle, load_bundle
from wetread.bundles.trust import TrustPolicy
from wetread.errors import DataUnusable, Misconfigured
from wetread.learn.appearance import FEWEST, Learned, learn_appearance
from wetread.learn.calibrate import Answers, Calibration, fit
from wetread.learn.cases import Cases, Part, check_part
from wetread.learn.lineage import exports_behind
from wetread.learn.measures import Classification, classification
from wetread.learn.run import Run, Trainee
from wetread.learn.settings import TrainingSettings
from wetread.learn.sources import Source, read_source
from wetread.learn.splits import check_leaks, fold_indices, split
from wetread.learn.version import Version, write_version
from wetread.learn.watch import Progress

Parts = Mapping[Part, Cases]


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of it."""

    bundle: Bundle
    """The new version."""
    version: Version


def train(
    bundle: Bundle,
    settings: TrainingSettings,
    *,
    command: tuple[str, ...] = (),
    start: Bundle | None = None,
    trust: TrustPolicy | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train ``bundle`` anew, from the weights of ``start`` where there is one.

    Raises: ``DataUnusable``, ``BundleInvalid``, ``BundleNotTrusted``, ``Misconfigured``; ``TrainingStopped`` when the
    loss is no number, with the step and where the last good checkpoint is.
    """
    tell = progress or (lambda _what, _share: None)
    tell("reading data", 0.0)
    target = settings.out / bundle.name
    if target.exists():
        raise Misconfigured(f"{target} is there already: name another --out, or take it away")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    source = read_source(settings.data, bundle.manifest, unverified=settings.unverified)
    parts, notes = _parts(source, bundle, settings)
    began, cpu_began = time.monotonic(), time.process_time()
    trainee = Trainee(bundle, settings, source.sha256, start, trust)
    outside = _cross_validated(trainee, parts, tell) if settings.folds else None
    run = Run(trainee, parts["train"], parts["val"], settings.out / f".{bundle.name}.training", tell)
    weights = run.finish()
    tell("calibrating", 1.0)
    calibration, measured, crossed = _judged(run, bundle, outside)
    guard = _guard(parts, bundle, settings)
    if guard is None:
        notes = (*notes, f"no guard: it is made of at least {FEWEST} training films")
    version = Version(
        settings=settings,
        command=shlex.join(command),
        source=source,
        cases={part: len(cases) for part, cases in parts.items()},
        history=tuple(run.checkpoint.history),
        kept_epoch=run.kept_epoch,
        calibration=calibration,
        validation=measured,
        cross_validation=crossed,
        wall_s=time.monotonic() - began,
        cpu_s=time.process_time() - cpu_began,
        threads=torch.get_num_threads(),
        guard=guard,
        exports=exports_behind(settings.data, start),
        notes=(*source.notes, *notes, *run.notes),
    )
    folder = write_version(bundle, target, weights, version)
    run.forget()
    return Trained(load_bundle(folder), version)


def _parts(source: Source, bundle: Bundle, settings: TrainingSettings) -> tuple[dict[Part, Cases], tuple[str, ...]]:
    """Train and validation, checked; the test part is only looked at for leaks. Raises: ``DataUnusable``."""
    parts = dict(source.parts)
    if source.unsplit:
        if parts:
            raise DataUnusable(
                f"{len(source.unsplit)} cases are in no part and others are: name the part of all or none"
            )
        parts = split(source.unsplit, seed=settings.seed)
    if "train" not in parts:
        raise DataUnusable(f"{source.path} has no train part, only {', '.join(parts)}")
    if "val" not in parts:
        parts |= split(parts["train"], seed=settings.seed)
    notes = check_leaks(parts)
    names = [rule.name for rule in bundle.manifest.scores]
    for part in ("train", "val"):
        check_part(parts[part], part, names)
    return parts, notes


def _guard(parts: Parts, bundle: Bundle, settings: TrainingSettings) -> Learned | None:
    """What the training films look like; None of volumes and of too few films."""
    films = all(rule.kind == "radiograph" for rule in bundle.manifest.inputs)
    if not films or len(parts["train"]) < FEWEST:
        return None
    train, val = ([case.image for case in parts[part]] for part in ("train", "val"))
    return learn_appearance(train, seed=settings.seed, validation=val)


def _cross_validated(trainee: Trainee, parts: Parts, tell: Progress) -> Answers:
    """What networks say about the cases of ``train`` and ``val`` that they were not trained on, fold by fold."""
    cases = (*parts["train"], *parts["val"])
    folder = trainee.settings.out / f".{trainee.bundle.name}.training"
    found: list[Answers] = []
    splits = fold_indices(cases, folds=trainee.settings.folds, seed=trainee.settings.seed)
    for number, (train_on, validate_on) in enumerate(splits, start=1):
        run = Run(
            trainee,
            tuple(cases[i] for i in train_on),
            tuple(cases[i] for i in validate_on),
            folder / f"fold{number}",
            lambda what, share, number=number: tell(f"fold {number}: {what}", share),  # type: ignore[misc]
        )
        run.finish()
        found.append(run.answers())
    return Answers(*(np.concatenate([getattr(a, name) for a in found]) for name in Answers.__slots__))


def _judged(
    run: Run, bundle: Bundle, outside: Answers | None
) -> tuple[Calibration | None, Classification | None, Classification | None]:
    """Calibration from the cases that were not trained on; measures of the validation part and of the folds."""
    if len(bundle.manifest.scores) != 1 or not run.config.calibrated:
        return None, None, None
    own, wanted = run.answers(), run.operating_point
    calibration = fit(
        outside or own,
        prevalence=wanted["prevalence"],
        specificity=wanted["specificity"],
        strength=wanted["strength"],
    )
    measured = [
        None
        if answers is None
        else classification(answers.labels, calibration.probabilities(answers.logits), threshold=calibration.threshold)
        for answers in (own, outside)
    ]
    return calibration, measured[0], measured[1]
