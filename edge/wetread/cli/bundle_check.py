"""``wetread bundle list | check``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wetread.cli.bundle_show import show, show_rows
from wetread.cli.options import bundle_folders, engine_cache, trust_policy

if TYPE_CHECKING:
    from wetread.bundles import Bundle


def list_all(args: argparse.Namespace) -> int:
    """Every bundle of this site, the ones that cannot be used with the reason."""
    from wetread.bundles import list_bundles
    from wetread.cli.table import print_json

    seen: dict[str, dict[str, Any]] = {}
    for folder in list_bundles(bundle_folders(args)):
        seen.setdefault(folder.name, _describe(folder))
    rows = list(seen.values())
    if args.json:
        print_json(rows)
    else:
        columns = {"name": "bundle", "version": "version", "title": "title", "trust": "trusted", "state": "state"}
        show_rows(rows, columns, title="Bundles")
    return 0


def check(args: argparse.Namespace) -> int:
    """Everything that stands in the way of a read, in the order in which it would be met; 2 when something does."""

    folder = _folder(args)
    report: dict[str, Any] = {"name": folder.name, "folder": folder}
    code = _files(args, folder, report)
    if code == 0 and not args.files_only:
        report |= _compatibility(folder, engine_cache(args))
        code = 0 if report["loads"] and not (report["missing"] or report["problems"]) else 2
    if code == 0 and not args.files_only:
        report |= _engine(args, folder)
    report["state"] = "ready" if code == 0 else "not ready"
    show(report, as_json=args.json)
    return code


def _describe(folder: Path) -> dict[str, Any]:
    from wetread.bundles import load_bundle
    from wetread.bundles.installed import record_of
    from wetread.errors import Misconfigured

    described: dict[str, Any] = {"name": folder.name, "version": "", "title": "", "clinical_use": False}
    described |= {"folder": str(folder), "trust": ""}
    try:
        record = record_of(folder)
        described["trust"] = f"{record.trusted}: {record.by}" if record else "not installed"
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


def _folder(args: argparse.Namespace) -> Path:
    """The bundle's folder, also of one that has no ``wetread.json`` yet."""
    from wetread.bundles import list_bundles
    from wetread.errors import UnknownBundle

    as_path = Path(args.name)
    if (as_path / "configs" / "metadata.json").is_file():
        return as_path.resolve()
    known = list(list_bundles(bundle_folders(args)))
    for folder in known:
        if folder.name == args.name:
            return folder.resolve()
    if as_path.exists():
        raise UnknownBundle(f"{args.name} is no bundle: a MONAI bundle is a folder with configs/metadata.json")
    have = ", ".join(sorted({f.name for f in known})) or "none"
    raise UnknownBundle(f"there is no bundle {args.name!r}; installed: {have}")


def _files(args: argparse.Namespace, folder: Path, report: dict[str, Any]) -> int:
    """What can be said without running anything; 2 when the bundle may not run, or its weights are missing."""
    from wetread.bundles import load_bundle
    from wetread.bundles.trust import admit, check_folder, needs_trust
    from wetread.errors import BundleNotTrusted

    check_folder(folder)
    report["needs_trusted_code"] = needed = [str(f) for f in needs_trust(folder)]
    if not (folder / "configs" / "wetread.json").is_file():
        report["trust"] = "not installed"
        return _without_manifest(report, needed)
    bundle = load_bundle(folder)
    report |= {"version": bundle.version, "digest": bundle.digest(), "weights_digest": bundle.weights_digest()}
    report["clinical_use"] = bundle.manifest.clinical_use
    golden = bundle.manifest.golden
    report["golden_case"] = golden.origin if golden else "none, certified on phantoms"
    try:
        record = admit(bundle, trust_policy(args))
    except BundleNotTrusted as exc:
        report["problems"] = [str(exc)]
        return 2
    report["trust"] = f"{record.trusted}: {record.by}" if record else "not installed; stays within the allow-list"
    bundle.check_weights()
    return 0


def _without_manifest(report: dict[str, Any], needed: list[str]) -> int:
    """A bundle from the Model Zoo: it is made once for the report, but only if that runs none of its own code."""
    if not needed:
        return 0
    report["problems"] = [
        "there is no configs/wetread.json, and the parts of the bundle cannot be tried because it needs trusted code; "
        "write configs/wetread.json and install it with --trust-local"
    ]
    return 2


def _compatibility(folder: Path, cache_folder: Path) -> dict[str, Any]:
    from wetread.infer.check import check_bundle
    from wetread.jobs.isolation import forbid_code_in_data

    forbid_code_in_data()
    found = dataclasses.asdict(check_bundle(folder, cache_folder=cache_folder))
    return {name: value for name, value in found.items() if name not in ("folder", "name")}


def _engine(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from wetread.bundles import load_bundle
    from wetread.cli.progress import stage_progress
    from wetread.infer.model import open_model

    bundle: Bundle = load_bundle(folder)
    with stage_progress(args.json) as progress:
        cache = engine_cache(args)
        model = open_model(bundle, engine=args.engine, cache_folder=cache, trust=trust_policy(args), progress=progress)
    identity, reason = model.identity, model.choice_reason
    model.close()
    return {
        "engine": f"{identity.name} {identity.precision} {identity.library_version} on {identity.device}",
        "why": reason,
        "certificate": identity.certificate,
    }
