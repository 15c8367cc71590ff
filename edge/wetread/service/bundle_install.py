"""``wetread bundle install``: a folder or archive becomes a bundle of this site, whole or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from wetread.bundles import Bundle, load_bundle
from wetread.bundles.archive import Limits, copy_folder, unpack
from wetread.bundles.bundle import SIGNATURE
from wetread.bundles.check import check_supported
from wetread.bundles.installed import Record, record_of, write_record
from wetread.bundles.signature import read_signature, verify, verify_files
from wetread.bundles.static_check import Finding
from wetread.bundles.trust import check_paths, needed_by
from wetread.durable import write_atomically
from wetread.errors import BundleInvalid, BundleNotTrusted, Misconfigured, WetreadError
from wetread.progress import Progress, unheard
from wetread.service.bundle_export import GRAPHS
from wetread.service.bundle_files import lock, place, remove, sync, unlocked
from wetread.service.person import user_name

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class InstallSettings:
    """What the site and the user decided."""

    into: Path
    """The site's bundle folder."""
    trusted_keys: Path
    cache_folder: Path
    """Where ready engines go."""
    limits: Limits = field(default_factory=Limits)
    trust_local: bool = False
    """The user vouches for the code in the bundle."""
    replace: bool = False
    wheel: Path | None = None
    """Package file with the weights; without it they are downloaded from their publisher when they are missing."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What was done."""

    bundle: Bundle
    record: Record
    findings: tuple[Finding, ...]
    """What of it needs the trust it was given."""
    engines: int
    graphs: int
    """Exported elsewhere; engines are made from them here."""
    notes: tuple[str, ...]
    """What a person should know besides, as sentences."""


def install(source: Path, settings: InstallSettings, *, progress: Progress = unheard) -> Installed:
    """Install a folder, a zip file of one, or an archive that ``export`` wrote.

    Raises: ``BundleNotTrusted`` without a valid signature or ``--trust-local``; ``BundleInvalid`` for anything that is
    no bundle; ``Misconfigured`` when another bundle of that name is there. Then nothing was installed, nothing was run.
    """
    settings.into.mkdir(parents=True, exist_ok=True)
    with _staging(settings.into) as staging:
        progress("checking files", 0.1)
        folder, engines = _unpacked(source, staging, settings.limits)
        bundle = _loaded(folder, source)
        progress("checking trust", 0.4)
        findings = tuple(needed_by(bundle))
        trusted, by = _vouched(folder, settings)
        _add_weights(bundle, settings.wheel, progress)
        progress("putting it in place", 0.9)
        lock(folder)
        sync(folder)
        target = settings.into / folder.name
        digest = bundle.digest()
        notes = _put(folder, target, digest, replace=settings.replace)
        record = Record(
            version=bundle.version, digest=digest, trusted=trusted, by=by, at=datetime.now(UTC), source=str(source)
        )
        write_record(target, record)
        count, graphs, more = _adopt(engines, target.name, settings)
    progress("installed", 1.0)
    return Installed(load_bundle(target), record, findings, count, graphs, (*notes, *more))


def vouch_in_place(bundle: Bundle, settings: InstallSettings) -> Record:
    """Trust a bundle that lies in a bundle folder already; its files stay as they are.

    Raises: ``BundleNotTrusted``, ``BundleInvalid``.
    """
    needed_by(bundle)
    trusted, by = _vouched(bundle.folder, settings)
    record = Record(
        version=bundle.version,
        digest=bundle.digest(),
        trusted=trusted,
        by=by,
        at=datetime.now(UTC),
        source=str(bundle.folder),
    )
    write_record(bundle.folder, record)
    return record


@contextmanager
def changing(bundle: Bundle) -> Iterator[None]:
    """Let an installed bundle's files change on purpose: writable meanwhile, and its record follows.

    A record that did not fit the files before is left alone: what changed behind its back stays noticed.
    """
    record = record_of(bundle.folder)
    intact = record is not None and record.digest == bundle.digest()
    with unlocked(bundle.folder):
        yield
    if record is not None and intact:
        write_record(bundle.folder, record.model_copy(update={"digest": bundle.digest()}))


def _unpacked(source: Path, staging: Path, limits: Limits) -> tuple[Path, Path | None]:
    """The bundle's folder under its own name in ``staging``, and the folder of engines that came with it."""
    unpacked = staging / "unpacked"
    if source.is_dir():
        copy_folder(source, unpacked / source.resolve().name, limits)
    elif source.is_file():
        unpack(source, unpacked, limits)
    else:
        raise Misconfigured(f"there is no bundle, folder or archive {source}")
    root = _root(unpacked, source)
    signature = read_signature(root)
    name = signature.bundle if signature else (root.name if root != unpacked else source.stem)
    if not _NAME.fullmatch(name):
        raise BundleInvalid(f"{name!r} is no name for a bundle: letters, digits, '.', '_', '-', at most 64")
    engines = unpacked / "engines"
    folder = staging / name
    if folder in (unpacked, root.parent / "engines"):
        raise BundleInvalid(f"a bundle cannot be called {name!r}")
    root.rename(folder)
    return folder, engines if engines.is_dir() else None


def _root(unpacked: Path, source: Path) -> Path:
    """The folder with ``configs/metadata.json``: the top, or one folder below it, or below ``bundle/`` of an export."""
    candidates = [unpacked, *unpacked.glob("*"), *unpacked.glob("bundle/*")]
    found = [c for c in candidates if (c / "configs" / "metadata.json").is_file()]
    if len(found) != 1:
        raise BundleInvalid(
            f"{source.name} holds {len(found)} bundles (folders with configs/metadata.json), expected exactly one"
        )
    return found[0]


def _loaded(folder: Path, source: Path) -> Bundle:
    check_supported(folder)
    if not (folder / "configs" / "wetread.json").is_file():
        raise BundleInvalid(
            f"bundle {folder.name} has no configs/wetread.json, which says what its inputs and outputs mean; first run "
            f"wetread bundle check {source if source.is_dir() else 'FOLDER'}, which writes a template to fill in"
        )
    bundle = load_bundle(folder)
    check_paths(bundle)
    return bundle


def _vouched(folder: Path, settings: InstallSettings) -> tuple[Literal["signature", "local"], str]:
    """How the bundle is trusted, and by whom. A signature counts more than the user's word, if it is valid."""
    try:
        return "signature", verify(folder, settings.trusted_keys, name=folder.name).key
    except BundleNotTrusted:
        if not settings.trust_local:
            raise
    return "local", user_name()


def _add_weights(bundle: Bundle, wheel: Path | None, progress: Progress) -> None:
    if any(w.source for w in bundle.manifest.weights):
        from wetread.infer.install import install_weights

        install_weights(bundle, wheel=wheel, progress=progress)
    bundle.check_weights()


def _put(folder: Path, target: Path, digest: str, *, replace: bool) -> tuple[str, ...]:
    if not target.exists():
        place(folder, target)
        return ()
    try:
        there = load_bundle(target)
    except WetreadError:
        there = None
    if there is not None and there.digest() == digest:
        _take_signature(folder, there)
        return (f"{target.name} {there.version} was there already, file by file the same",)
    if not replace:
        version = there.version if there else "that cannot be read"
        raise Misconfigured(
            f"{target} holds another {target.name}, version {version}; give --replace to put this one in its place "
            f"(the old one is kept)"
        )
    kept = target.parent / ".replaced" / f"{target.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    place(folder, target, keep=kept)
    return (f"the former {target.name} is kept in {kept}",)


def _take_signature(folder: Path, there: Bundle) -> None:
    """The signature that vouches now, where the same files lie under another one or none."""
    new, old = folder / SIGNATURE, there.folder / SIGNATURE
    if new.is_file() and not (old.is_file() and old.read_bytes() == new.read_bytes()):
        with unlocked(there.folder):
            write_atomically(old, lambda target: shutil.copyfile(new, target))
            old.chmod(0o444)


def _adopt(engines: Path | None, name: str, settings: InstallSettings) -> tuple[int, int, tuple[str, ...]]:
    """Ready engines and graphs into the cache. They are programs: only with a signature, or the user's word."""
    if engines is None:
        return 0, 0, ()
    try:
        verify_files(engines, settings.trusted_keys, bundle=name)
    except BundleNotTrusted as exc:
        if not settings.trust_local:
            return 0, 0, (f"the ready engines were left out, they will be built here: {exc}",)
    from wetread.infer.engines.cache import adopt
    from wetread.infer.graph.export import adopt_graph

    folders = sorted(f for f in engines.iterdir() if f.is_dir() and f.name != GRAPHS)
    taken = [adopt(folder, settings.cache_folder) is not None for folder in folders]
    exported = [adopt_graph(path, settings.cache_folder) for path in sorted((engines / GRAPHS).glob("*.onnx"))]
    damaged = [*taken, *exported].count(False)
    said = (f"{damaged} ready engines or graphs are damaged and were left out",) if damaged else ()
    return sum(taken), sum(exported), said


@contextmanager
def _staging(into: Path) -> Iterator[Path]:
    """A folder on the same file system, gone afterwards whatever happens."""
    staging = Path(tempfile.mkdtemp(prefix=".installing-", dir=into))
    try:
        yield staging
    finally:
        remove(staging)
