"""``wetread bundle clean``."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from wetread.cli.options import bundle_folders, chosen_cache, unused_days

if TYPE_CHECKING:
    from wetread.infer.cleaning import Piece

_DAY_S = 86400.0


def clean(args: argparse.Namespace) -> int:
    """Remove from the engine cache what nothing here can use; 1 when something of it could not be removed."""
    from wetread.cli.table import print_json
    from wetread.service.engine_cleaning import clean_cache

    cache = chosen_cache(args)
    days = unused_days(args) if args.unused_days is None else args.unused_days
    done = clean_cache(cache.folder, bundle_folders(args), unused_days=days, dry_run=args.dry_run)
    if args.json:
        report = {
            "engine_cache": str(cache.folder),
            "unused_days": days,
            "dry_run": args.dry_run,
            "removed": [_row(piece) for piece in done.removed],
            "left": [{**_row(piece), "reason": reason} for piece, reason in done.left],
            "failed": [{**_row(piece), "reason": reason} for piece, reason in done.failed],
        }
        print_json(report)
    else:
        _show(done.removed, done.left, done.failed, dry_run=args.dry_run)
        print(f"engines: {cache}")
    return 1 if done.failed else 0


def _row(piece: Piece) -> dict[str, Any]:
    return {
        "kind": piece.kind,
        "path": str(piece.path),
        "size_bytes": piece.size_bytes,
        "why": piece.why,
        "unused_days": round(max(0.0, time.time() - piece.used_at) / _DAY_S, 1),
    }


def _show(
    removed: tuple[Piece, ...],
    left: tuple[tuple[Piece, str], ...],
    failed: tuple[tuple[Piece, str], ...],
    *,
    dry_run: bool,
) -> None:
    from wetread.cli.table import print_block
    from wetread.service.engine_cleaning import in_words

    for piece, reason in (*((piece, "") for piece in removed), *left, *failed):
        fate = f"stays: {reason}" if reason else "would be removed" if dry_run else "removed"
        size = f"{piece.size_bytes / 1e6:.1f} MB"
        print_block((f"{piece.kind} {piece.path.name[:16]}", size, piece.why), fate)
    print(f"{in_words(removed) or 'nothing'} {'would be removed' if dry_run else 'removed'}")
