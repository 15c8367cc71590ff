"""Whether a bundle may run here: asked at every start, before its configuration is parsed or its weights are loaded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from wetread.bundles.archive import LEFT_OUT
from wetread.bundles.bundle import Bundle, inference_config
from wetread.bundles.installed import Record, record_of
from wetread.bundles.signature import verify
from wetread.bundles.static_check import Finding, examine, in_words
from wetread.bundles.static_check_weights import examine_weights
from wetread.errors import BundleInvalid, BundleNotTrusted

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What the site decided."""

    uninstalled: Literal["checked", "refuse"] = "checked"
    """A bundle without an install record: run it if nothing in it needs trusted code, or never."""
    trusted_keys: Path | None = None
    """With it, signatures are verified again: a key that was taken away takes its bundles with it."""


def admit(bundle: Bundle, policy: TrustPolicy | None = None) -> Record | None:
    """Let a bundle run, or refuse it; its install record, if it has one.

    A bundle somebody vouched for may run code of its own as long as its files are the ones that were vouched for. Any
    other must stay within the allow-list. Pickles that call anything, links out of the folder and folders that
    everybody may write to are refused whoever vouched for them.
    Raises: ``BundleNotTrusted``, ``BundleInvalid``, with every reason.
    """
    policy = policy or TrustPolicy()
    check_folder(bundle.folder)
    check_paths(bundle)
    record = record_of(bundle.folder)
    if record is None:
        if policy.uninstalled == "refuse":
            raise BundleNotTrusted(
                f"bundle {bundle.name} was not installed; run: wetread bundle install {bundle.folder} "
                f"(this site refuses others: [bundles] uninstalled)"
            )
        _refuse_untrusted_code(bundle, needed_by(bundle))
        return None
    examine_weights(bundle.folder)
    if bundle.digest() != record.digest:
        raise BundleNotTrusted(
            f"the files of bundle {bundle.name} have changed since it was installed on {record.at:%Y-%m-%d} from "
            f"{record.source}; install it again if that was on purpose: wetread bundle install"
        )
    if record.trusted == "signature" and policy.trusted_keys is not None:
        verify(bundle.folder, policy.trusted_keys, name=bundle.name)
    return record


def needs_trust(folder: Path, *, config: str = "", programs: Iterable[str] = ()) -> list[Finding]:
    """What of a bundle a read would run that somebody has to vouch for; also of a folder without ``wetread.json``.

    ``programs``: files that are run as TorchScript, whatever they are called.
    Raises: ``BundleInvalid`` for what no trust makes acceptable.
    """
    name = config or inference_config(folder).name
    run = [Finding(program, "", "", "TorchScript that is run as a program") for program in programs]
    return [*run, *(f for f in (*examine_weights(folder), *examine(folder, config=name)) if f.for_reading)]


def needed_by(bundle: Bundle) -> list[Finding]:
    """What of this bundle a read would run that somebody has to vouch for. Raises: as ``needs_trust``."""
    programs = [weights.path for weights in bundle.manifest.weights if weights.program]
    return needs_trust(bundle.folder, config=bundle.config_path.name, programs=programs)


def check_folder(folder: Path) -> None:
    """Refuse links that lead out of the bundle, and files that everybody on this machine may change.

    Raises: ``BundleInvalid``, ``BundleNotTrusted``.
    """
    for path in (folder, *sorted(folder.rglob("*"))):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            if not path.resolve().is_relative_to(folder.resolve()):
                raise BundleInvalid(f"{path} is a link out of the bundle's folder")
        elif os.name != "nt" and status.st_mode & stat.S_IWOTH:
            raise BundleNotTrusted(
                f"everybody on this machine may write to {path}; take that right away: chmod -R o-w {folder}"
            )


def check_paths(bundle: Bundle) -> None:
    """Refuse a manifest that names files outside of the bundle, or in its folders that no digest covers.

    Raises: ``BundleInvalid``.
    """
    manifest = bundle.manifest
    named = [f"configs/{manifest.runtime.config or 'inference.json'}", *(w.path for w in manifest.weights)]
    if manifest.golden is not None:
        named += manifest.golden.files()
    for name in named:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or "\\" in name or ".." in parts or LEFT_OUT.intersection(parts):
            raise BundleInvalid(f"bundle {bundle.name}: wetread.json names {name!r}, which is not a file of the bundle")


def refuse_misspelt(name: str, findings: Iterable[Finding]) -> None:
    """Refuse a bundle that asks for what is not there: nobody needs to vouch for that. Raises: ``BundleInvalid``."""
    wrong = in_words(found for found in findings if found.not_there)
    if wrong:
        raise BundleInvalid(f"bundle {name}: {'; '.join(wrong)}")


def _refuse_untrusted_code(bundle: Bundle, findings: list[Finding]) -> None:
    refuse_misspelt(bundle.name, findings)
    needed = in_words(findings)
    if needed:
        more = f"; and {len(needed) - _SHOWN} more" if len(needed) > _SHOWN else ""
        raise BundleNotTrusted(
            f"bundle {bundle.name} needs trusted code: {'; '.join(needed[:_SHOWN])}{more}. Nothing of it was run. "
            f"Only if you have read it and trust it: wetread bundle install {bundle.folder} --trust-local, or install "
            "it with a signature"
        )
