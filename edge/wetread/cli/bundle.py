"""``wetread bundle``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wetread.cli.options import add_config, add_json, bundle_folders

HELP = "list bundles, check one (files, weights, engines), install the weights of one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="bundles and whether they can be used")
    check = actions.add_parser("check", help="files, weights and engines of one bundle; exit code 2 when one fails")
    check.add_argument("name", help="bundle name or folder")
    check.add_argument("--engine", default="auto", choices=["auto", "torch", "openvino"])
    check.add_argument("--files-only", action="store_true", help="do not open an engine")
    install = actions.add_parser("install", help="get the weights of a bundle from their publisher and check them")
    install.add_argument("name", help="bundle name or folder")
    install.add_argument("--from", dest="wheel", type=Path, metavar="WHEEL", help="the package file, without internet")
    for action in (listing, check, install):
        add_config(action)
        add_json(action)


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    return {"list": _list, "check": _check, "install": _install}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from wetread.bundles import list_bundles
    from wetread.cli.table import print_json, print_table

    seen: dict[str, dict[str, Any]] = {}
    for folder in list_bundles(bundle_folders(args)):
        seen.setdefault(folder.name, _describe(folder))
    rows = list(seen.values())
    if args.json:
        print_json(rows)
    else:
        columns = ("name", "version", "title", "clinical_use", "state", "folder")
        print_table("Bundles", columns, ([r[c] for c in columns] for r in rows))
    return 0


def _describe(folder: Path) -> dict[str, Any]:
    from wetread.bundles import load_bundle
    from wetread.errors import Misconfigured

    described = {"name": folder.name, "version": "", "title": "", "clinical_use": False, "folder": str(folder)}
    try:
        bundle = load_bundle(folder)
        described |= {
            "version": bundle.version,
            "title": bundle.manifest.title,
            "clinical_use": bundle.manifest.clinical_use,
        }
        bundle.check_weights()
    except Misconfigured as exc:
        return {**described, "state": str(exc)}
    return {**described, "state": "ready"}


def _check(args: argparse.Namespace) -> int:
    from wetread import log
    from wetread.bundles import find_bundle
    from wetread.cli.progress import stage_progress
    from wetread.cli.table import print_json, print_pairs

    log.configure_for_command()
    bundle = find_bundle(args.name, bundle_folders(args))
    bundle.check_weights()
    report: dict[str, Any] = {
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest(),
        "weights_digest": bundle.weights_digest(),
        "clinical_use": bundle.manifest.clinical_use,
        "golden_case": bundle.manifest.golden.origin if bundle.manifest.golden else "none, certified on phantoms",
    }
    if not args.files_only:
        from wetread.cli.read import cache_folder
        from wetread.infer.model import open_model

        with stage_progress(args.json) as progress:
            model = open_model(bundle, engine=args.engine, cache_folder=cache_folder(), progress=progress)
        identity = model.identity
        report |= {
            "engine": f"{identity.name} {identity.precision} {identity.library_version} on {identity.device}",
            "why": model.choice_reason,
            "certificate": identity.certificate,
        }
        model.close()
    if args.json:
        print_json(report)
    else:
        print_pairs(report)
    return 0


def _install(args: argparse.Namespace) -> int:
    from wetread.bundles import find_bundle
    from wetread.cli.progress import stage_progress
    from wetread.cli.table import print_json
    from wetread.infer.install import install_weights

    bundle = find_bundle(args.name, bundle_folders(args))
    with stage_progress(args.json) as progress:
        install_weights(bundle, wheel=args.wheel, progress=progress)
    bundle.check_weights()
    if args.json:
        print_json({"name": bundle.name, "weights": [w.path for w in bundle.manifest.weights], "state": "ready"})
    else:
        print(f"{bundle.name}: weights are installed and have the digests the manifest names")
    return 0
