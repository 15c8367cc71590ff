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
    from wetread.bundles.trust import TrustPolicy
    from wetread.infer.model import Model


def list_all(args: argparse.Namespace) -> int:
    """Every bundle of this site, the ones that cannot be used with the reason."""
    from wetread.bundles import list_bundles
    from wetread.cli.table import print_json

    seen: dict[str, dict[str, Any]] = {}
    policy = trust_policy(args)
    for folder in list_bundles(bundle_folders(args)):
        seen.setdefault(folder.name, _describe(folder, policy))
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
        code = 2 if report["problems"] else 0
    report["state"] = "ready" if code == 0 else "not ready"
    show(report, as_json=args.json)
    return code


def _describe(folder: Path, policy: TrustPolicy) -> dict[str, Any]:
    """``ready`` says that its files are here, are those that were vouched for, and may run; ``check`` tries them."""
    from wetread.bundles import load_bundle
    from wetread.bundles.installed import record_of
    from wetread.bundles.trust import admit
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
        admit(bundle, policy)
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
    from wetread.bundles.static_check import in_words
    from wetread.bundles.trust import admit, check_folder, needed_by
    from wetread.errors import BundleNotTrusted

    check_folder(folder)
    if not (folder / "configs" / "wetread.json").is_file():
        report["trust"] = "not installed"
        return _without_manifest(report, engine_cache(args))
    bundle = load_bundle(folder)
    report["needs_trusted_code"] = in_words(needed_by(bundle))
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


def _without_manifest(report: dict[str, Any], cache_folder: Path) -> int:
    """A bundle from the Model Zoo: it is made once for the report, but only if that runs none of its own code."""
    from wetread.bundles.check import guessed_weights
    from wetread.bundles.static_check import in_words
    from wetread.bundles.template import write_template
    from wetread.bundles.trust import needs_trust

    guessed = guessed_weights(report["folder"])
    programs = [guessed.path] if guessed.program else []
    report["needs_trusted_code"] = needed = in_words(needs_trust(report["folder"], programs=programs))
    if not needed:
        return 0
    report["template"] = write_template(report["folder"], cache_folder)
    report["problems"] = [
        "there is no configs/wetread.json, and the parts of the bundle cannot be tried because it needs trusted code; "
        "fill in the template, rename it to wetread.json and, if you trust the code, install it with --trust-local"
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
    from wetread.infer.phantom import without_requirements

    bundle: Bundle = load_bundle(folder)
    if bundle.manifest.golden is None:
        bundle = dataclasses.replace(bundle, manifest=without_requirements(bundle.manifest))
    with stage_progress(args.json) as progress:
        cache = engine_cache(args)
        model = open_model(bundle, engine=args.engine, cache_folder=cache, trust=trust_policy(args), progress=progress)
        identity, reason = model.identity, model.choice_reason
        tried = {} if bundle.manifest.golden else _trial(model, bundle)
        model.close()
    return {
        "engine": f"{identity.name} {identity.precision} {identity.library_version} on {identity.device}",
        "why": reason,
        "certificate": identity.certificate,
        **tried,
    }


def _trial(model: Model, bundle: Bundle) -> dict[str, Any]:
    """One read of a phantom: without a golden case nothing else shows that images of this kind get through at all.

    An answer that would be refused is said and is no problem: the phantom is no patient.
    """
    from wetread.errors import Misconfigured, OutputInvalid
    from wetread.infer.phantom import phantoms

    try:
        model.run(phantoms(bundle.manifest))
    except OutputInvalid as exc:
        return {"trial": f"the answer about a phantom would be refused: {exc}"}
    except Misconfigured as exc:
        return {"trial": "failed", "problems": [f"a phantom volume cannot be read: {exc}"]}
    return {"trial": "a phantom volume was read"}
