"""``wetread bundle train``: from labelled images to a new version of a bundle.

data ─▶ splits ─▶ MONAI's trainer (of each fold, then of all) ─▶ calibration ─▶ measures ─▶ the new version's folder
"""

from __future__ import annotations

import shlex
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
from wetread.learn.version import Began, Version, write_version
from wetread.progress import Progress, unheard
from wetread.records.numbers import number_of

Parts = Mapping[Part, Cases]
Judged = tuple[Calibration | None, Classification | None, Classification | None]
"""Calibration, and what was measured with it on the validation part and in cross-validation."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What is learned from: checked parts of a source."""

    source: Source
    parts: Parts
    """``train`` and ``val`` at least."""
    notes: tuple[str, ...] = ()
    """What was passed over and what could not be checked, as sentences."""


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
    progress: Progress = unheard,
) -> Trained:
    """Train ``bundle`` anew, from the weights of ``start`` where there is one.

    Raises: ``DataUnusable``, ``BundleInvalid``, ``BundleNotTrusted``, ``Misconfigured``; ``TrainingStopped`` when the
    loss is no number, with the step and where the last good checkpoint is.
    """
    progress("reading data", 0.0)
    check_free(bundle, settings)
    material = read_material(bundle, settings)
    return train_on(Trainee(bundle, settings, material.source.sha256, start, trust), material, command, progress)


def read_material(bundle: Bundle, settings: TrainingSettings) -> Material:
    """The parts of ``settings.data``; made by patient where it has none. Raises: ``DataUnusable``."""
    source = read_source(settings.data, bundle.manifest, unverified=settings.unverified)
    parts, notes = _checked_parts(source, bundle, settings)
    return Material(source, parts, (*source.notes, *notes))


def train_on(
    trainee: Trainee,
    material: Material,
    command: tuple[str, ...] = (),
    tell: Progress = unheard,
    *,
    guarded: bool = True,
) -> Trained:
    """Train on material that was read already; ``guarded``: with a guard, where there are films enough.

    Raises: as ``train``.
    """
    bundle, settings, parts = trainee.bundle, trainee.settings, material.parts
    prepare(bundle, settings)
    began = Began()
    outside = _cross_validated(trainee, parts, tell) if settings.folds else None
    run = Run(trainee, parts["train"], parts["val"], settings.out / f".{bundle.name}.training", tell)
    weights = run.finish()
    tell("calibrating", 1.0)
    guard = guard_of(parts, bundle, settings) if guarded else None
    lacking = (f"no guard: it is made of at least {FEWEST} training films",) if guarded and guard is None else ()
    calibration, measured, crossed = _judged(run, bundle, outside)
    version = Version(
        settings=settings,
        command=shlex.join(command),
        source=material.source,
        cases={part: len(cases) for part, cases in parts.items()},
        history=tuple(run.checkpoint.history),
        kept_epoch=run.kept_epoch,
        calibration=calibration,
        validation=measured,
        cross_validation=crossed,
        effort=began.now(),
        guard=guard,
        exports=exports_behind(settings.data, trainee.start),
        notes=(*material.notes, *lacking, *run.notes),
    )
    folder = write_version(bundle, settings.out / bundle.name, weights, version)
    run.forget()
    return Trained(load_bundle(folder), version)


def prepare(bundle: Bundle, settings: TrainingSettings) -> None:
    """Take as many threads as are wanted. Raises: as ``check_free``."""
    check_free(bundle, settings)
    if settings.threads:
        torch.set_num_threads(settings.threads)


def check_free(bundle: Bundle, settings: TrainingSettings) -> None:
    """Raises: ``Misconfigured`` where the new version would take a place that is taken."""
    target = settings.out / bundle.name
    if target.exists():
        raise Misconfigured(f"{target} is there already: name another --out, or take it away")


def _checked_parts(
    source: Source, bundle: Bundle, settings: TrainingSettings
) -> tuple[dict[Part, Cases], tuple[str, ...]]:
    """Train and validation, checked; the test part is only looked at for leaks. Raises: ``DataUnusable``."""
    parts = dict(source.parts)
    if source.unsplit:
        if parts:
            raise DataUnusable(
                f"{number_of(len(source.unsplit), 'case is', 'cases are')} in no part and others are: name the part of "
                "all or none"
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


def guard_of(parts: Parts, bundle: Bundle, settings: TrainingSettings) -> Learned | None:
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
    for number, (inside, outside) in enumerate(splits, start=1):
        run = Run(
            trainee,
            tuple(cases[i] for i in inside),
            tuple(cases[i] for i in outside),
            folder / f"fold{number}",
            lambda what, share, number=number: tell(f"fold {number}: {what}", share),  # type: ignore[misc]
        )
        run.finish()
        found.append(run.answers())
    return Answers(*(np.concatenate([getattr(a, name) for a in found]) for name in Answers.__slots__))


def _judged(run: Run, bundle: Bundle, outside: Answers | None) -> Judged:
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
