"""``wetread route explain``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wetread.cli.options import config_of
from wetread.cli.table import print_json

if TYPE_CHECKING:
    from wetread.records.study import StudyRef
    from wetread.route.router import Router


def explain(args: argparse.Namespace) -> int:
    """Explain; 0 when at least one route would read a study, 3 when none would."""
    from wetread.bundles import find_bundle
    from wetread.errors import Misconfigured, NotDicom
    from wetread.images.folder import scan_folder
    from wetread.route.router import Router

    config = config_of(args)
    if not args.folder.exists():
        raise Misconfigured(f"there is no {args.folder}")
    bundles = {r.bundle: find_bundle(r.bundle, config.bundle_folders) for r in config.routes if r.mode != "off"}
    router = Router(config.routes, bundles)
    scan = scan_folder(args.folder)
    if not scan.studies:
        why = f": {scan.skipped[0].reason}" if scan.skipped else ""
        raise NotDicom(f"no DICOM study in {args.folder}{why}")
    explained = [_explain(study, router) for study in scan.studies]
    if args.json:
        print_json({"studies": explained})
    else:
        _print(explained)
    return 0 if any(route["outcome"] == "read" for study in explained for route in study["routes"]) else 3


def _explain(study: StudyRef, router: Router) -> dict[str, Any]:
    from wetread.service.explanation import explained

    return {
        "study_instance_uid": study.study_instance_uid,
        "description": study.description,
        "routes": [explained(study, decision) for decision in router.decide(study)],
    }


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
