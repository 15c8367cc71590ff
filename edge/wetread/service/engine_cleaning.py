"""Which bundles are here, and what of the engine cache none of them can use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wetread.bundles import list_bundles, load_bundle
from wetread.config import Config
from wetread.errors import BundleInvalid, Misconfigured
from wetread.infer.cleaning import Cleaned, Installed, Piece, clean, old, survey
from wetread.records.numbers import number_of
from wetread.service.engine_caches import service_cache


def installed(folders: Iterable[Path]) -> Installed | None:
    """Digest → name of every bundle; ``None`` where one of them cannot be read: what it uses is not known then."""
    found: dict[str, str] = {}
    for folder in list_bundles(folders):
        try:
            bundle = load_bundle(folder)
            found[bundle.digest()] = bundle.name
        except BundleInvalid:  # nothing was ever compiled for files like these
            continue
        except OSError:
            return None
    return found


def old_pieces(cache: Path, folders: Iterable[Path]) -> tuple[Piece, ...]:
    """What nothing here can use. Raises: ``Misconfigured`` for a cache that cannot be read."""
    try:
        return old(survey(cache, installed(folders)))
    except OSError as exc:
        raise Misconfigured(f"the engine cache {cache} cannot be read: {exc.strerror} ({exc.filename})") from exc


def clean_cache(cache: Path, folders: Iterable[Path], *, unused_days: float, dry_run: bool = False) -> Cleaned:
    """Remove it. Raises: ``Misconfigured`` for a cache that cannot be read."""
    try:
        return clean(cache, installed(folders), unused_days=unused_days, dry_run=dry_run)
    except OSError as exc:
        raise Misconfigured(f"the engine cache {cache} cannot be read: {exc.strerror} ({exc.filename})") from exc


def clean_of_service(config: Config) -> Cleaned:
    """As ``wetread serve`` does once a day. Raises: ``Misconfigured``."""
    folder = service_cache(config).folder
    return clean_cache(folder, config.bundle_folders, unused_days=config.retention.engines_days)


def in_words(pieces: Iterable[Piece]) -> str:
    """How much it is, e.g. ``3 old entries (12.5 MB)``; '' for nothing."""
    found = tuple(pieces)
    size_mb = sum(piece.size_bytes for piece in found) / 1e6
    return f"{number_of(len(found), 'old entry', 'old entries')} ({size_mb:.1f} MB)" if found else ""
