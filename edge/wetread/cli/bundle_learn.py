"""``wetread bundle train | crossvalidate | average | evaluate | guard``."""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from wetread.cli.options import bundle_folders, engine_cache, trust_policy
from wetread.extras import how_to_install
from wetread.records.numbers import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wetread.learn.measures import Classification
    from wetread.learn.settings import TrainingSettings
    from wetread.learn.train import Trained


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
    show(_new_version(trained, state="trained", as_json=args.json), as_json=args.json)
    return 0


def _new_version(trained: Trained, *, state: str, as_json: bool) -> dict[str, Any]:
    version, new = trained.version, trained.bundle
    return {
        "state": state,
        "bundle": new.name,
        "version": new.version,
        "folder": new.folder,
        "digest": new.digest(),
        "epochs": len(version.history),
        "kept_epoch": version.kept_epoch,
        "validation": _shown(version.validation, as_json=as_json),
        "cross_validation": _shown(version.cross_validation, as_json=as_json),
        "notes": list(version.notes),
        "next": f"wetread bundle install {shlex.quote(str(new.folder))} --trust-local --replace",
    }


def crossvalidate(args: argparse.Namespace) -> int:
    """Train and measure fold by fold; what is on disk already is not done again."""
    from wetread.bundles import find_bundle
    from wetread.cli.bundle_show import show
    from wetread.cli.progress import stage_progress
    from wetread.cli.table import print_json

    with _learn_extra():
        from wetread.learn.crossvalidate import cross_validate
        from wetread.learn.page import write_crossvalidation_page
    _quietly()
    bundle = find_bundle(args.name, bundle_folders(args))
    with stage_progress(args.json) as progress:
        crossed = cross_validate(
            bundle,
            _settings(args),
            members=args.average or (),
            command=("wetread", *sys.argv[1:]),
            trust=trust_policy(args),
            progress=progress,
        )
    page = args.out / f"{bundle.name}.html"
    write_crossvalidation_page(crossed, page)
    if args.record:
        crossed.record()
    if args.json:
        print_json(crossed.document())
        return 0
    report: dict[str, Any] = {
        "bundle": f"{bundle.name} {bundle.version}",
        "data": f"{args.data}, {number_of(crossed.n, 'image')}, {len(crossed.folds)} folds by patient",
        **crossed.in_words(),
        "page": page,
        "note": "internal figures: every image read by a network that was trained without it",
    }
    show(report, as_json=False)
    return 0


def average(args: argparse.Namespace) -> int:
    """Make a new version of a bundle from others, whose mean it says."""
    from wetread.bundles import find_bundle
    from wetread.cli.bundle_show import show

    with _learn_extra():
        from wetread.learn.average import average_of
        from wetread.learn.settings import TrainingSettings
    _quietly()
    bundle, *members = (find_bundle(name, bundle_folders(args)) for name in (args.name, *args.members))
    settings = TrainingSettings(
        data=args.data, out=args.out, seed=args.seed, threads=args.threads, version=args.bundle_version
    )
    made = average_of(bundle, members, settings, command=("wetread", *sys.argv[1:]), trust=trust_policy(args))
    show(_new_version(made, state="averaged", as_json=args.json), as_json=args.json)
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Measure a bundle on labelled images."""
    from wetread.bundles import find_bundle
    from wetread.cli.bundle_show import show
    from wetread.cli.progress import stage_progress
    from wetread.cli.table import print_json

    with _learn_extra():
        from wetread.learn.evaluation import measure_bundle
        from wetread.learn.measured import HowRead
        from wetread.learn.page import write_page
        from wetread.learn.sources import read_source
    _quietly()
    bundle = find_bundle(args.name, bundle_folders(args))
    with stage_progress(args.json) as progress:
        evaluation = measure_bundle(
            bundle,
            read_source(args.data, bundle.manifest, unverified=args.unverified),
            HowRead(engine_cache(args), args.engine, trust_policy(args), progress=progress),
            part=args.part,
        )
    if args.html:
        write_page(evaluation, args.html)
    if args.record:
        evaluation.record(shlex.join(("wetread", *sys.argv[1:])))
    if args.json:
        print_json(evaluation.document())
        return 0
    report: dict[str, Any] = {
        "bundle": f"{bundle.name} {bundle.version}",
        "engine": evaluation.engine_in_words,
        "data": f"{args.data}, {evaluation.part} part, {number_of(evaluation.n, 'image')}",
        **evaluation.in_words(),
        "passed over": list(evaluation.source.notes),
        "note": "95 % bootstrap intervals; figures on these images, no claim about others",
    }
    show(report, as_json=False)
    return 0


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

    names = {field.name for field in fields(TrainingSettings)}
    given = {name: value for name, value in vars(args).items() if name in names}
    more = dict(plain_value(text) for text in args.set or ())
    return TrainingSettings(**given, version=getattr(args, "bundle_version", None), more=more)


def _shown(measured: Classification | None, *, as_json: bool) -> Any:
    from wetread.learn.measures import in_words

    if measured is None:
        return ""
    if as_json:
        return {"n": measured.n, **{name: figure.value for name, figure in measured.figures.items()}}
    return in_words(measured)


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
        raise Misconfigured(f"training and evaluation need {exc.name}; {how_to_install('edge', 'learn')}") from exc
