"""``wetread bundle train | evaluate | guard``."""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wetread.cli.options import bundle_folders, engine_cache, trust_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wetread.bundles import Bundle
    from wetread.learn.measures import Classification
    from wetread.learn.settings import TrainingSettings


def train(args: argparse.Namespace) -> int:
    """Train a new version; says where it is and how good it is."""
    from wetread.bundles import find_bundle
    from wetread.cli.bundle_show import show
    from wetread.cli.progress import stage_progress

    with _learn_extra():
        from wetread.learn.train import train as learn
    _quietly()
    bundle = find_bundle(args.name, bundle_folders(args))
    start = find_bundle(args.start_from, bundle_folders(args)) if args.start_from else None
    with stage_progress(args.json) as progress:
        trained = learn(
            bundle,
            _settings(args),
            command=("wetread", *sys.argv[1:]),
            start=start,
            trust=trust_policy(args),
            progress=progress,
        )
    version, new = trained.version, trained.bundle
    report: dict[str, Any] = {
        "state": "trained",
        "bundle": new.name,
        "version": new.version,
        "folder": new.folder,
        "digest": new.digest(),
        "epochs": len(version.history),
        "kept_epoch": version.kept_epoch,
        "validation": _shown(version.validation, as_json=args.json),
        "cross_validation": _shown(version.cross_validation, as_json=args.json),
        "notes": list(version.notes),
        "next": f"wetread bundle install {shlex.quote(str(new.folder))} --trust-local --replace",
    }
    show(report, as_json=args.json)
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Measure a bundle on labelled images."""
    from wetread.bundles import find_bundle
    from wetread.cli.bundle_show import show
    from wetread.cli.progress import stage_progress
    from wetread.cli.table import print_json

    with _learn_extra():
        from wetread.learn.evaluate import as_document
        from wetread.learn.evaluate import evaluate as measure
        from wetread.learn.sources import read_source
    _quietly()
    bundle = find_bundle(args.name, bundle_folders(args))
    if bundle.manifest.labels:
        return _evaluate_masks(bundle, args)
    with stage_progress(args.json) as progress:
        evaluation = measure(
            bundle,
            read_source(args.data, bundle.manifest, unverified=args.unverified),
            cache_folder=engine_cache(args),
            engine=args.engine,
            part=args.part,
            trust=trust_policy(args),
            progress=progress,
        )
    if args.html:
        from wetread.learn.page import write_page

        write_page(evaluation, args.html)
    if args.json:
        print_json(as_document(evaluation))
        return 0
    report: dict[str, Any] = {
        "bundle": f"{evaluation.bundle.name} {evaluation.bundle.version}",
        "engine": f"{evaluation.engine.name} {evaluation.engine.precision} {evaluation.engine.library_version}",
        "data": f"{args.data}, {evaluation.part} part, {evaluation.n} images",
        "time": f"{evaluation.seconds_per_image * 1000:.1f} ms for an image",
    }
    for score in evaluation.scores:
        report[score.rule.name] = _shown(score.measured, as_json=False)
    report |= _passed_over(evaluation.source.notes)
    report["note"] = "95 % bootstrap intervals; figures on these images, no claim about others"
    show(report, as_json=False)
    return 0


def _evaluate_masks(bundle: Bundle, args: argparse.Namespace) -> int:
    from wetread.cli.bundle_show import show
    from wetread.cli.progress import stage_progress
    from wetread.cli.table import print_json
    from wetread.errors import Misconfigured
    from wetread.learn.evaluate_masks import as_document, evaluate_masks
    from wetread.learn.sources import read_source

    if args.html:
        raise Misconfigured(f"--html is for classifiers, {args.name} segments: leave it out, or take --json")
    with stage_progress(args.json) as progress:
        evaluation = evaluate_masks(
            bundle,
            read_source(args.data, bundle.manifest, unverified=args.unverified),
            cache_folder=engine_cache(args),
            engine=args.engine,
            part=args.part,
            trust=trust_policy(args),
            progress=progress,
        )
    if args.json:
        print_json(as_document(evaluation))
        return 0
    report: dict[str, Any] = {
        "bundle": f"{bundle.name} {bundle.version}",
        "engine": f"{evaluation.engine.name} {evaluation.engine.precision} {evaluation.engine.library_version}",
        "data": f"{args.data}, {evaluation.part} part, {evaluation.n} images",
    }
    for structure in evaluation.structures:
        report[structure.name] = [f"{name} {figure}" for name, figure in structure.figures.items()]
    report |= _passed_over(evaluation.source.notes)
    report["note"] = "means over the cases, 95 % bootstrap intervals; no claim about others"
    show(report, as_json=False)
    return 0


def _passed_over(notes: tuple[str, ...]) -> dict[str, Any]:
    return {"passed over": list(notes)} if notes else {}


def guard(args: argparse.Namespace) -> int:
    """Learn what the training films look like, and put it into the bundle."""
    from wetread.bundles import find_bundle, load_bundle
    from wetread.cli.bundle_show import show

    with _learn_extra():
        from wetread.learn.appearance import guard_again, guard_from
    bundle = find_bundle(args.name, bundle_folders(args))
    learned = guard_from(bundle, args.data, seed=args.seed)
    guard_again(bundle, learned)
    changed = load_bundle(bundle.folder)
    report: dict[str, Any] = {
        "state": "guarded",
        "bundle": bundle.name,
        **learned.document(),
        "digest": changed.digest(),
        "next": f"wetread bundle install {shlex.quote(str(bundle.folder))} --trust-local --replace",
    }
    show(report, as_json=args.json)
    return 0


def _settings(args: argparse.Namespace) -> TrainingSettings:
    from wetread.learn.settings import TrainingSettings, plain_value

    return TrainingSettings(
        data=args.data,
        out=args.out,
        seed=args.seed,
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        loss=args.loss,
        optimizer=args.optimizer,
        schedule=args.schedule,
        patience=args.patience,
        start_from=args.start_from,
        freeze=args.freeze,
        unfreeze_after=args.unfreeze_after,
        folds=args.folds,
        unverified=args.unverified,
        resume=args.resume,
        tensorboard=args.tensorboard,
        threads=args.threads,
        version=args.bundle_version,
        more=dict(plain_value(given) for given in args.set or ()),
    )


def _shown(measured: Classification | None, *, as_json: bool) -> Any:
    if measured is None:
        return ""
    if as_json:
        return {"n": measured.n, **{name: figure.value for name, figure in measured.figures.items()}}
    rows = [f"{name} {figure}" for name, figure in sorted(measured.figures.items())]
    negative, false_alarm, missed, found = measured.confusion
    counts = f"{found} found, {missed} missed, {false_alarm} false alarms, {negative} rightly absent"
    return [f"{measured.n} images, {measured.n_positive} positive; at {measured.threshold:.3f}: {counts}", *rows]


def _quietly() -> None:
    """MONAI and ignite tell every step in the log; data may not bring code."""
    import logging

    from wetread.jobs.isolation import forbid_code_in_data

    for name in ("ignite", "monai", "SupervisedTrainer", "SupervisedEvaluator"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    forbid_code_in_data()


@contextmanager
def _learn_extra() -> Iterator[None]:
    """Raises: ``Misconfigured`` where the extra is not installed."""
    from wetread.errors import Misconfigured

    try:
        yield
    except ModuleNotFoundError as exc:
        if str(exc.name).startswith("wetread"):
            raise
        raise Misconfigured(f"training and evaluation need {exc.name}: pip install 'wetread[edge,learn]'") from exc
