"""``wetread bundle``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from wetread.cli.options import ENGINES, add_config, add_json, days, rate
from wetread.errors import Misconfigured

HELP = "list, check, compile, clean, measure, train, evaluate, install, sign and export bundles"

_ACTIONS = {
    "list": ("wetread.cli.bundle_list", "list_all"),
    "check": ("wetread.cli.bundle_check", "check"),
    "compile": ("wetread.cli.bundle_engines", "compile_engines"),
    "bench": ("wetread.cli.bundle_engines", "bench"),
    "clean": ("wetread.cli.bundle_clean", "clean"),
    "train": ("wetread.cli.bundle_learn", "train"),
    "crossvalidate": ("wetread.cli.bundle_learn", "crossvalidate"),
    "average": ("wetread.cli.bundle_learn", "average"),
    "evaluate": ("wetread.cli.bundle_learn", "evaluate"),
    "guard": ("wetread.cli.bundle_learn", "guard"),
    "install": ("wetread.cli.bundle_install", "install"),
    "sign": ("wetread.cli.bundle_install", "sign"),
    "export": ("wetread.cli.bundle_install", "export"),
}
"""Module and function of each action."""
PRINTS = {
    "list": "a list with one object for each bundle: name, version, title, clinical_use, folder, trust, state, reason,"
    " engines",
    "compile": "a list with one object for each engine: bundle, network, engine, precision, gpu, size_bytes, seconds,"
    " path, sha256, build_part, on_device_part, measured_on, measured, note",
    "bench": "a list with one object for each engine and precision: bundle, engine, precision, device, median_s,"
    " speedup_vs_torch, peak_mb, agreement, image",
}
"""What ``--json`` prints; of the other actions one object."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help_text: str) -> argparse.ArgumentParser:
        prints = f"--json prints {PRINTS.get(name, 'one object')}."
        made = actions.add_parser(name, help=help_text, description=help_text, epilog=prints)
        add_config(made)
        add_json(made)
        return made

    action("list", "bundles, what is known of them on this machine, and who vouched for them")
    _check(
        action("check", "files, code, weights and engines of a bundle; exit code 1 when something stands in the way")
    )
    _compile(action("compile", "build and prove engines ahead of time"))
    _bench(action("bench", "speed, memory and agreement of each engine on this machine"))
    _clean(action("clean", "remove engines that no bundle here can use any more from the engine cache"))
    _train(action("train", "train a new version of a bundle on labelled images"))
    _crossvalidate(action("crossvalidate", "how good a bundle's training is on patients it has not seen, fold by fold"))
    _average(action("average", "make a bundle that says the mean of what others say"))
    _evaluate(action("evaluate", "how good a bundle is on labelled images"))
    _guard(action("guard", "learn what a bundle's training films look like, so that it refuses others"))
    _install(action("install", "install a folder, a .zip or an exported archive; or fetch the weights of a bundle"))
    _sign(action("sign", "sign a bundle for other sites, or make a key"))
    _export(action("export", "write a bundle, with its ready engines if wanted, into one file"))


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    module, name = _ACTIONS[args.action]
    action: Callable[[argparse.Namespace], int] = getattr(import_module(module), name)
    try:
        return action(args)
    except PermissionError as exc:
        raise Misconfigured(f"{exc.filename} cannot be read or written by this user: {exc.strerror}") from exc


def _check(check: argparse.ArgumentParser) -> None:
    check.add_argument("name", help="bundle name or folder")
    check.add_argument("--engine", default="auto", choices=["auto", *ENGINES])
    check.add_argument("--files-only", action="store_true", help="read the files, open no engine, run nothing")


def _compile(make: argparse.ArgumentParser) -> None:
    make.add_argument("name", help="bundle name or folder")
    make.add_argument("--engine", default="auto", choices=["auto", *ENGINES])
    make.add_argument("--precision", action="append", choices=["f32", "f16", "bf16"], help="several are possible")
    make.add_argument(
        "--gpu", action="append", metavar="SM", help="compute capability, e.g. sm89; several are possible"
    )


def _bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("name", help="bundle name or folder")
    bench.add_argument("--engine", action="append", choices=ENGINES, help="default: all that this machine has")
    bench.add_argument("--repeats", type=int, default=5, help="runs of each engine, one after the other in turn")


def _clean(clean: argparse.ArgumentParser) -> None:
    clean.add_argument("--dry-run", action="store_true", help="say what would be removed")
    clean.add_argument(
        "--unused-days",
        type=days,
        metavar="N",
        help="only what nobody used for so long (default: [retention] engines_days, 30); what a process uses stays",
    )


def _train(train: argparse.ArgumentParser) -> None:
    train.add_argument("name", help="bundle name or folder")
    _data(train)
    _unverified(train)
    train.add_argument(
        "--out", type=Path, default=Path("trained"), metavar="FOLDER", help="the new version: FOLDER/NAME"
    )
    _how(train)
    train.add_argument("--folds", type=int, default=0, help="cross-validate by patient; calibrate on what was left out")
    train.add_argument("--resume", action="store_true", help="go on after an interruption")
    train.add_argument("--tensorboard", type=Path, metavar="FOLDER")
    train.add_argument("--bundle-version", metavar="VERSION", help="default: the next minor version")


def _how(train: argparse.ArgumentParser) -> None:
    train.add_argument("--seed", type=int, default=0, help="the same seed, data and threads give the same network")
    train.add_argument("--epochs", type=int, help="default, here and below: as the bundle's train config says")
    train.add_argument("--batch-size", type=int)
    train.add_argument("--learning-rate", type=rate, metavar="RATE")
    train.add_argument("--loss", choices=["cross-entropy", "focal", "dice", "mse"])
    train.add_argument("--optimizer", choices=["sgd", "adam", "adamw"])
    train.add_argument("--schedule", choices=["constant", "cosine", "one-cycle", "step"])
    train.add_argument("--patience", type=int, metavar="EPOCHS", help="stop after so many without a better validation")
    train.add_argument("--from", dest="start_from", metavar="BUNDLE", help="begin with its weights, where they fit")
    train.add_argument("--freeze", metavar="PATTERN", help="parameters with such names stay as they are")
    train.add_argument("--unfreeze-after", type=int, metavar="EPOCHS", help="default: they stay to the end")
    train.add_argument("--set", action="append", metavar="ID=VALUE", help="any other id of the train config")
    train.add_argument("--threads", type=int)


def _crossvalidate(cross: argparse.ArgumentParser) -> None:
    cross.add_argument("name", help="bundle name or folder")
    _data(cross)
    _unverified(cross)
    cross.add_argument(
        "--out",
        type=Path,
        default=Path("folds"),
        metavar="FOLDER",
        help="folds and the page; the same command goes on where it was interrupted",
    )
    cross.add_argument("--folds", type=int, default=5, help="default: 5")
    _how(cross)
    cross.add_argument(
        "--average", nargs="+", metavar="BUNDLE", help="mean of these, which are in FOLDER; nothing is trained"
    )
    _record(cross)


def _average(average: argparse.ArgumentParser) -> None:
    average.add_argument("name", help="bundle name or folder, of which a new version is made")
    average.add_argument("members", nargs="+", metavar="BUNDLE", help="classifiers of one score")
    _data(average)
    average.add_argument("--out", type=Path, default=Path("trained"), metavar="FOLDER", help="FOLDER/NAME")
    average.add_argument("--seed", type=int, default=0)
    average.add_argument("--threads", type=int)
    average.add_argument("--bundle-version", metavar="VERSION", help="default: the next minor version")


def _evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("name", help="bundle name or folder")
    _data(evaluate)
    _unverified(evaluate)
    evaluate.add_argument("--part", choices=["train", "val", "test"], help="default: test, else val")
    evaluate.add_argument("--engine", default="auto", choices=["auto", *ENGINES])
    evaluate.add_argument("--html", type=Path, metavar="FILE", help="a page with plots")
    _record(evaluate)


def _guard(guard: argparse.ArgumentParser) -> None:
    guard.add_argument("name", help="bundle name or folder; its wetread.json and models/ are changed")
    _data(guard)
    guard.add_argument("--seed", type=int, default=0)


def _data(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DATA",
        help="FILE.npz; a folder with cases.csv (image, label, …); or a folder of DICOM with its SEG or SR",
    )


def _unverified(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--unverified", action="store_true", help="take SEG and SR as reference that no person drew or verified"
    )


def _record(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "--record", action="store_true", help="put the figures into the bundle's training/metrics.json and model card"
    )


def _install(install: argparse.ArgumentParser) -> None:
    install.add_argument("source", metavar="SOURCE", help="folder, .zip, exported archive; or the name of a bundle")
    install.add_argument("--trust-local", action="store_true", help="vouch yourself for the code in it; is recorded")
    install.add_argument("--into", type=Path, metavar="FOLDER", help="bundle folder (default: the first configured)")
    install.add_argument("--replace", action="store_true", help="take the place of another bundle of that name")
    install.add_argument("--from", dest="wheel", type=Path, metavar="WHEEL", help="the weights' package, offline")
    install.add_argument("--keys", type=Path, metavar="FOLDER", help="trusted public keys (default: the configured)")


def _sign(sign: argparse.ArgumentParser) -> None:
    sign.add_argument("name", nargs="?", help="bundle name or folder")
    sign.add_argument("--key", type=Path, metavar="FILE", help="private key")
    sign.add_argument("--out", type=Path, metavar="FOLDER", help="sign a copy, FOLDER/NAME; the bundle stays as it is")
    sign.add_argument("--new-key", type=Path, metavar="FILE", help="make a key: FILE (keep it secret) and FILE.pub")


def _export(export: argparse.ArgumentParser) -> None:
    export.add_argument("name", help="bundle name or folder")
    export.add_argument("--out", type=Path, required=True, metavar="FILE.zip")
    export.add_argument(
        "--with-engines", action="store_true", help="with the ready engines and exported graphs of the engine cache"
    )
    export.add_argument("--key", type=Path, metavar="FILE", help="private key to sign the engines with")
