"""``wetread route replay``."""

from __future__ import annotations

import argparse
from typing import Any

from wetread.cli.options import config_of
from wetread.cli.table import print_block, print_json, short_time


def replay(args: argparse.Namespace) -> int:
    """Report; nothing is read or sent."""
    from wetread.service.replay import Replay

    report = Replay(config_of(args), route=args.route).last(args.last)
    if args.json:
        print_json(report)
        return 0
    if not report["studies"]:
        print("no study was received yet")
    for study in report["studies"]:
        print_block((short_time(study["received_at"]), study["study_instance_uid"], study["description"]))
        for route in study["routes"]:
            print_block((f"    route {route['route']} ({route['mode']}): {_outcome(route)}",), *_lines(route))
    print()
    for name, counted in report["routes"].items():
        print_block((f"route {name}:", ", ".join(f"{n} {outcome}" for outcome, n in counted.items())))
    return 0


def _outcome(route: dict[str, Any]) -> str:
    recorded = f", at the time: {route['recorded']}" if route["recorded"] not in ("", route["outcome"]) else ""
    return f"{route['outcome']}{recorded}"


def _lines(route: dict[str, Any]) -> list[str]:
    read_before = ", ".join(route["read_before"])
    sent = ", ".join(route["would_send_to"])
    return [
        route["reason"],
        f"read before, so not again: {read_before}" if read_before else "",
        f"sent to {sent}" if sent else f"not sent: {route['not_sent_because']}",
    ]
