"""``wetread results destinations | negotiate``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wetread.config import Config


def show(args: argparse.Namespace, config: Config) -> int:
    """Every configured destination."""
    from wetread.cli.table import print_block, print_json
    from wetread.service.maintenance import open_results

    rows = open_results(config).destinations(config)
    if args.json:
        print_json({"destinations": rows})
        return 0
    if not rows:
        print("no destination is configured; see [[destinations]] in wetread.toml.example")
    for row in rows:
        waits = ", ".join(f"{row[name]} {name}" for name in ("pending", "refused", "held") if row[name])
        print_block((row["destination"], row["kind"], waits or "nothing waits"), _trouble(row), _rendition(row))
    return 0


def negotiate(args: argparse.Namespace, config: Config) -> int:
    """Have one destination asked again, then show all."""
    import difflib

    from wetread.errors import Misconfigured
    from wetread.service.maintenance import open_decisions

    known = [d.name for d in config.destinations]
    if args.destination not in known:
        near = difflib.get_close_matches(args.destination, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"configured: {', '.join(known) or 'none'}"
        raise Misconfigured(f"there is no destination {args.destination!r}; {hint}")
    open_decisions(config).ask_again(args.destination)
    return show(args, config)


def _trouble(row: dict[str, Any]) -> str:
    from wetread.cli.table import short_time

    if not row["tried_next_at"]:
        return ""
    return "; ".join(filter(None, (row["last_error"], f"next try {short_time(row['tried_next_at'])}")))


def _rendition(row: dict[str, Any]) -> str:
    from wetread.cli.table import short_time

    if not row["rendition"]:
        return "is asked before its next object which rendition it takes"
    negotiated = row["decided_by"] == "negotiated"
    how = f"as it said when asked, {short_time(row['decided_at'])}" if negotiated else "by setting or kind"
    return f"gets the {row['rendition']} rendition, {how}"
