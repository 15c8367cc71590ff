"""``wetread bundle install | sign | export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wetread.cli.bundle_list import known
from wetread.cli.bundle_show import show
from wetread.cli.options import bundle_folders, bundle_settings, engine_cache, trust_policy

if TYPE_CHECKING:
    from wetread.bundles import Bundle
    from wetread.service.bundle_install import InstallSettings


def install(args: argparse.Namespace) -> int:
    """Install from a source, or complete a bundle that is there already (weights, trust)."""

    there = _already_there(args)
    report = _complete(args, there) if there is not None else _install_source(args)
    show(report, as_json=args.json)
    return 0


def sign(args: argparse.Namespace) -> int:
    """Make a key, sign a bundle, or both."""
    from wetread.bundles.signature import make_key
    from wetread.errors import Misconfigured

    report: dict[str, Any] = {}
    key = args.key or args.new_key
    if args.new_key:
        report |= {"key": make_key(args.new_key), "private": args.new_key, "public": f"{args.new_key}.pub"}
    if args.name:
        if key is None:
            raise Misconfigured("a signature needs a key: give --key FILE, or --new-key FILE to make one")
        report |= _signed(args, key)
    if not report:
        raise Misconfigured("nothing to do: give the name of a bundle with --key FILE, or --new-key FILE")
    show(report, as_json=args.json)
    return 0


def _signed(args: argparse.Namespace, key: Path) -> dict[str, Any]:
    """Sign the bundle or a copy of it; says whether the one that was signed runs here, and why."""
    from wetread.bundles import find_bundle
    from wetread.bundles.archive import Limits
    from wetread.service.bundle_sign import sign_copy, sign_in_place

    bundle, site = find_bundle(args.name, bundle_folders(args)), bundle_settings(args)
    if args.out is not None:
        bundle, made = sign_copy(bundle, key, args.out, limits=Limits(max_bytes=site.max_size_mb << 20))
    else:
        made = sign_in_place(bundle, key, trusted_keys=Path(site.trusted_keys))
    return {
        "name": made.bundle,
        "version": made.version,
        "folder": bundle.folder,
        "key": made.key,
        "files": len(made.files),
        "trust": _trust_here(args, bundle),
    }


def _trust_here(args: argparse.Namespace, bundle: Bundle) -> str:
    from wetread.bundles.trust import admit
    from wetread.errors import BundleNotTrusted

    try:
        record = admit(bundle, trust_policy(args))
    except BundleNotTrusted as exc:
        return f"does not run here: {exc}"
    return f"runs here: {record.trusted}, {record.by}" if record else "runs here: nothing in it needs trusted code"


def export(args: argparse.Namespace) -> int:
    """One file for a box without internet."""
    from wetread.bundles import find_bundle
    from wetread.bundles.trust import admit
    from wetread.service.bundle_export import export as export_bundle

    bundle = find_bundle(args.name, bundle_folders(args))
    admit(bundle, trust_policy(args))
    bundle.check_weights()
    cache = engine_cache(args) if args.with_engines else None
    made = export_bundle(bundle, args.out, engine_cache=cache, key_file=args.key)
    report = {
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest(),
        "file": made.path,
        "size_bytes": made.size_bytes,
        "engines": made.engines,
        "graphs": made.graphs,
        "notes": list(made.notes),
    }
    show(report, as_json=args.json)
    return 0


def _already_there(args: argparse.Namespace) -> Bundle | None:
    """The bundle, if the source is the name of one, or a folder in one of the bundle folders."""
    from wetread.bundles import find_bundle, load_bundle
    from wetread.errors import UnknownBundle

    source = Path(args.source)
    folders = [f.resolve() for f in (bundle_folders(args) if args.into is None else [args.into])]
    if source.exists():
        inside = source.is_dir() and source.resolve().parent in folders
        return load_bundle(source) if inside else None
    try:
        return find_bundle(args.source, folders)
    except UnknownBundle:
        if source.suffix or len(source.parts) > 1:
            return None  # meant as a path; the sentence about it comes from there
        raise


def _complete(args: argparse.Namespace, bundle: Bundle) -> dict[str, Any]:
    from wetread.bundles.installed import record_of
    from wetread.bundles.signature import read_signature
    from wetread.bundles.trust import admit
    from wetread.cli.progress import stage_progress
    from wetread.infer.install import install_weights
    from wetread.service.bundle_install import changing, vouch_in_place

    settings = _settings(args)
    record = record_of(bundle.folder)
    if args.trust_local or (record is None and read_signature(bundle.folder) is not None):
        record = vouch_in_place(bundle, settings)
    admit(bundle, trust_policy(args))
    with changing(bundle), stage_progress(args.json) as progress:
        install_weights(bundle, wheel=args.wheel, progress=progress)
    bundle.check_weights()
    return {
        "name": bundle.name,
        "version": bundle.version,
        "folder": bundle.folder,
        "weights": [w.path for w in bundle.manifest.weights],
        "trusted": f"{record.trusted}, {record.by}" if record else "no; runs because nothing in it needs trusted code",
        **_state(args, bundle),
    }


def _install_source(args: argparse.Namespace) -> dict[str, Any]:
    from wetread.bundles.static_check import in_words
    from wetread.cli.progress import stage_progress
    from wetread.service.bundle_install import install as install_bundle

    with stage_progress(args.json) as progress:
        done = install_bundle(Path(args.source), _settings(args), progress=progress)
    return {
        "name": done.bundle.name,
        "version": done.bundle.version,
        "folder": done.bundle.folder,
        "digest": done.record.digest,
        "trusted": f"{done.record.trusted}, {done.record.by}",
        "runs_code": in_words(f for f in done.findings if f.for_reading),
        "engines": done.engines,
        "graphs": done.graphs,
        "notes": list(done.notes),
        **_state(args, done.bundle),
    }


def _state(args: argparse.Namespace, bundle: Bundle) -> dict[str, str]:
    """What is known on this machine about a bundle whose files are in place: of a new one no more than that."""
    found = known(bundle, engine_cache(args))
    tried = found["reason"] or f"no engine was tried on this machine yet: wetread bundle check {bundle.name}"
    return {"state": found["state"], "reason": tried}


def _settings(args: argparse.Namespace) -> InstallSettings:
    from wetread.bundles.archive import Limits
    from wetread.service.bundle_install import InstallSettings

    site = bundle_settings(args)
    return InstallSettings(
        into=args.into or bundle_folders(args)[0],
        trusted_keys=args.keys or Path(site.trusted_keys),
        cache_folder=engine_cache(args),
        limits=Limits(max_bytes=site.max_size_mb << 20),
        trust_local=args.trust_local,
        replace=args.replace,
        wheel=args.wheel,
    )
