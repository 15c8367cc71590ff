"""``wetread peers``."""

from __future__ import annotations

import argparse
from typing import Any

from wetread.cli.options import add_config, add_json, config_of

HELP = "list the systems we talk DICOM with, who was refused and why, or ask one for an echo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="configured peers, and when each sent last")
    actions.add_parser("refused", help="callers that were turned away, the latest first")
    actions.add_parser("echo", help="C-ECHO to a peer, with TLS if it is configured so").add_argument("name")
    for action in actions.choices.values():
        add_config(action)
        add_json(action)


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    from wetread.service.overview import Overview
    from wetread.service.peers import echo_peer, peers

    config = config_of(args)
    if args.action == "echo":
        return _print_echo(echo_peer(config, args.name), as_json=args.json)
    if args.action == "list":
        return _print_peers(peers(config), as_json=args.json)
    return _print_refused(Overview(config.data_dir).refusals(), as_json=args.json)


def _print_echo(echoed: dict[str, Any], *, as_json: bool) -> int:
    from wetread.cli.table import print_json

    if as_json:
        print_json(echoed)
    else:
        print(f"{echoed['name']} ({echoed['address']}) answers C-ECHO in {echoed['seconds']:.3f} s")
    return 0


def _print_peers(rows: list[dict[str, Any]], *, as_json: bool) -> int:
    from wetread.cli.table import print_block, print_json, short_time

    if as_json:
        print_json({"peers": rows})
        return 0
    if not rows:
        print("no peers; see [[peers]] in wetread.toml.example")
    for row in rows:
        tls = "TLS" if row["tls"] else ""
        last = f"last sent {short_time(row['last_sent_at'])}" if row["last_sent_at"] else ""
        never = "may send, never did" if row["may_send"] and not last else ""
        print_block((row["name"], row["ae_title"], row["address"], tls), ", ".join(row["networks"]), last or never)
    return 0


def _print_refused(rows: list[dict[str, Any]], *, as_json: bool) -> int:
    from wetread.cli.table import print_block, print_json, short_time

    if as_json:
        print_json({"refused": rows})
        return 0
    if not rows:
        print("nobody was refused")
    for row in rows:
        who = f"{row['calling'] or '?'} at {row['address']}"
        called = f"called {row['called']}" if row["called"] else ""
        times = "once" if row["count"] == 1 else f"{row['count']} times since {short_time(row['first_at'])[:10]}"
        print_block((short_time(row["last_at"]), who, called, times), row["reason"], row["hint"])
    return 0
