"""``wetread bundle list``, and what is known about one bundle on this machine, from files alone."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wetread.cli.options import bundle_folders, chosen_cache, trust_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wetread.bundles import Bundle
    from wetread.bundles.trust import TrustPolicy


def list_all(args: argparse.Namespace) -> int:
    """Every bundle of this site, the ones that cannot be used with the reason."""
    from wetread.bundles import list_bundles
    from wetread.cli.table import print_block, print_json

    seen: dict[str, dict[str, Any]] = {}
    policy, cache = trust_policy(args), chosen_cache(args)
    for folder in list_bundles(bundle_folders(args)):
        if folder.name not in seen:
            seen[folder.name] = _described(folder, policy, cache.folder)
    rows = list(seen.values())
    if args.json:
        print_json(rows)
        return 0
    for row in rows:
        _show(row)
    if rows:
        print_block([f"engines: {cache}"], _old(args, cache.folder))
    else:
        print(f"no bundle in {', '.join(map(str, dict.fromkeys(bundle_folders(args))))}")
    return 0


def _old(args: argparse.Namespace, cache: Path) -> str:
    from wetread.errors import Misconfigured
    from wetread.service.engine_cleaning import in_words, old_pieces

    try:
        said = in_words(old_pieces(cache, bundle_folders(args)))
    except Misconfigured as exc:
        return str(exc)
    return f"{said} that no bundle here can use: wetread bundle clean --dry-run" if said else ""


def known(bundle: Bundle, cache: Path) -> dict[str, Any]:
    """State and engines of a bundle that may run here and whose files are those of its manifest."""
    from wetread.infer.known import in_words, known_engines, state_of

    engines = known_engines(bundle, cache)
    return {
        "state": state_of(engines),
        "reason": in_words(engines),
        "engines": [dataclasses.asdict(engine) for engine in engines],
    }


def _described(folder: Path, policy: TrustPolicy, cache: Path) -> dict[str, Any]:
    from wetread.bundles import load_bundle
    from wetread.bundles.installed import record_of
    from wetread.bundles.trust import admit
    from wetread.errors import Misconfigured
    from wetread.infer.known import UNUSABLE

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
        return {**described, **known(bundle, cache)}
    except Misconfigured as exc:
        reason = str(exc)
    except PermissionError as exc:
        reason = f"{exc.filename} cannot be read by this user: {exc.strerror}"
    return {**described, "state": UNUSABLE, "reason": reason, "engines": []}


def _show(row: Mapping[str, Any]) -> None:
    from wetread.cli.table import print_block
    from wetread.infer.known import FILES, figures_in_words

    best = row["engines"][0] if row["engines"] else None
    state = ": ".join(part for part in (row["state"], row["reason"]) if part)
    if row["state"] == FILES and best is None:
        state += f"; no engine was tried on this machine yet: wetread bundle check {row['name']}"
    figures = figures_in_words(best["measured"], certified_on=best["certified_on"]) if best else ""
    trust = f"trust: {row['trust']}" if row["trust"] else ""
    print_block((row["name"], row["version"], row["title"]), state, figures, trust)
