"""``wetread route explain``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wetread.cli.options import add_config, add_json, config_of

HELP = "explain which route and bundle would read a study, and why"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    explain = actions.add_parser("explain", help="what every route says about the studies in a folder; reads nothing")
    explain.add_argument("folder", type=Path)
    add_config(explain)
    add_json(explain)


def run(args: argparse.Namespace) -> int:
    """Explain; 0 when at least one route would read."""
    from wetread.bundles import find_bundle
    from wetread.cli.table import print_json
    from wetread.errors import Misconfigured
    from wetread.images.folder import scan_folder
    from wetread.route.router import Router

    config = config_of(args)
    if not args.folder.exists():
        raise Misconfigured(f"there is no {args.folder}")
    bundles = {r.bundle: find_bundle(r.bundle, config.bundle_folders) for r in config.routes if r.mode != "off"}
    router = Router(config.routes, bundles)
    explained: list[dict[str, Any]] = [
        {
            "study_instance_uid": study.study_instance_uid,
            "description": study.description,
            "routes": [
                {
                    "route": d.route.name,
                    "mode": d.route.mode,
                    "bundle": d.bundle.name,
                    "outcome": d.outcome,
                    "reason": d.reason,
                    "series": [str(v) for v in d.verdicts],
                }
                for d in router.decide(study)
            ],
        }
        for study in scan_folder(args.folder).studies
    ]
    if not explained:
        raise Misconfigured(f"no DICOM study in {args.folder}")
    if args.json:
        print_json(explained)
    else:
        _print(explained)
    return 0


def _print(explained: list[dict[str, Any]]) -> None:
    for study in explained:
        print(f"study {study['study_instance_uid']}  {study['description']}")
        if not study["routes"]:
            print("  no active route is configured")
        for route in study["routes"]:
            print(f"  route {route['route']} ({route['mode']}, bundle {route['bundle']}): {route['outcome']}")
            print(f"    {route['reason']}")
            for verdict in route["series"]:
                print(f"    - {verdict}")
