"""``wetread route explain``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wetread.cli.options import add_config, add_json, config_of

if TYPE_CHECKING:
    from wetread.records.study import StudyRef
    from wetread.route.router import Decision, Router

HELP = "explain which route and bundle would read a study, and why"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    text = "what every route says about the studies in a folder, by their headers; slices and pixels are not looked at"
    explain = actions.add_parser("explain", help=text, description=text)
    explain.add_argument("folder", type=Path)
    add_config(explain)
    add_json(explain)


def run(args: argparse.Namespace) -> int:
    """Explain; 0 when at least one route would read a study, 3 when none would."""
    from wetread.bundles import find_bundle
    from wetread.cli.table import print_json
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
    return {
        "study_instance_uid": study.study_instance_uid,
        "description": study.description,
        "routes": [_decision(study, decision) for decision in router.decide(study)],
    }


def _decision(study: StudyRef, decision: Decision) -> dict[str, Any]:
    """A decision, with what the guard will say about the patient: it is in the header, so it can be said now."""
    from wetread.errors import NotIntended
    from wetread.guard.intended import check_patient

    outcome: str = decision.outcome
    reason = decision.reason
    if outcome == "read":
        try:
            check_patient(study, decision.bundle.manifest.patient)
        except NotIntended as exc:
            outcome, reason = "rejected", str(exc)
    return {
        "route": decision.route.name,
        "mode": decision.route.mode,
        "bundle": decision.bundle.name,
        "outcome": outcome,
        "reason": reason,
        "series": [str(v) for v in decision.verdicts],
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
