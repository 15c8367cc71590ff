"""``wetread route list``, ``pause`` and ``resume``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wetread.cli.options import config_of
from wetread.cli.table import print_block, print_json, short_time

if TYPE_CHECKING:
    from wetread.config import Config
    from wetread.jobs.requests import PauseKind


def pause(args: argparse.Namespace) -> int:
    """Stop reading and sending. The name must be one the configuration knows."""
    from wetread.service.maintenance import open_requests

    config = config_of(args)
    kind, name = _named(args)
    _check_known(config, kind, name)
    open_requests(config).pause(kind, name, args.reason)
    return list_all(args)


def resume(args: argparse.Namespace) -> int:
    """Go on; a pause can be lifted also after its route has left the configuration."""
    from wetread.service.maintenance import open_requests

    open_requests(config_of(args)).resume(*_named(args), args.reason)
    return list_all(args)


def list_all(args: argparse.Namespace) -> int:
    """Routes, pauses and counts; also of routes that have reads and are not configured any more."""
    from wetread.service.maintenance import open_requests
    from wetread.service.overview import Overview

    config = config_of(args)
    counts = Overview(config.data_dir).jobs_by_route()
    pauses = [
        {"kind": p.kind, "name": p.name, "reason": p.reason, "since": p.since} for p in open_requests(config).pauses()
    ]
    routes = [
        {
            "route": r.name,
            "mode": r.mode,
            "bundle": r.bundle,
            "destinations": r.destinations,
            "paused": [p for p in pauses if p["kind"] == "all" or p["name"] == getattr(r, _FIELDS.get(p["kind"], ""))],
            "reads": counts.pop(r.name, {}),
        }
        for r in config.routes
    ]
    gone = [{"route": name, "mode": "not configured", "reads": reads} for name, reads in counts.items()]
    if args.json:
        print_json({"routes": [*routes, *gone], "pauses": pauses})
    else:
        _print([*routes, *gone])
    return 0


_FIELDS = {"route": "name", "bundle": "bundle"}


def _named(args: argparse.Namespace) -> tuple[PauseKind, str]:
    if args.all:
        return "all", ""
    return ("route", args.route) if args.route else ("bundle", args.bundle)


def _check_known(config: Config, kind: PauseKind, name: str) -> None:
    import difflib

    from wetread.errors import Misconfigured

    if kind == "all":
        return
    known = sorted({getattr(r, _FIELDS[kind]) for r in config.routes})
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"configured: {', '.join(known) or 'none'}"
        raise Misconfigured(f"there is no {kind} {name!r}; {hint}")


def _print(routes: list[dict[str, Any]]) -> None:
    if not routes:
        print("no route is configured")
    for route in routes:
        reads = ", ".join(f"{n} {state.replace('to_send', 'objects to send')}" for state, n in route["reads"].items())
        paused = [
            f"{'everything' if p['kind'] == 'all' else p['kind']} paused since {short_time(p['since'])}: {p['reason']}"
            for p in route.get("paused", ())
        ]
        print_block((route["route"], route["mode"], route.get("bundle", "")), *paused, reads or "no reads")
