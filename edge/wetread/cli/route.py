"""``wetread route``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from wetread.cli.options import add_config, add_json, positive, reason

HELP = "list, explain and try routes; pause and resume routes and bundles"

_ACTIONS = {
    "list": ("wetread.cli.route_pause", "list_all"),
    "explain": ("wetread.cli.route_explain", "explain"),
    "replay": ("wetread.cli.route_replay", "replay"),
    "pause": ("wetread.cli.route_pause", "pause"),
    "resume": ("wetread.cli.route_pause", "resume"),
}
"""Module and function of each action."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help_text: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=help_text, description=help_text)
        add_config(made)
        add_json(made)
        return made

    action("list", "routes with their mode, what is paused since when and why, and how many reads are in each state")
    text = "what every route says about the studies in a folder, by their headers; slices and pixels are not looked at"
    action("explain", text).add_argument("folder", type=Path)
    text = (
        "what the routes, as configured now, would read of the latest studies received, where it would be sent, and "
        "why not; nothing is read or sent, slices and pixels are not looked at"
    )
    replay = action("replay", text)
    replay.add_argument("--last", type=positive, default=20, metavar="N", help="so many studies (default 20)")
    replay.add_argument("--route", default="", metavar="NAME", help="only this one, also when it is off")
    pause = action("pause", "read and send nothing of a route, a bundle or all; reception goes on, results wait")
    pause.add_argument("--reason", type=reason, required=True, help="shown to everyone who asks why nothing comes")
    resume = action("resume", "let a paused route, bundle or all go on")
    resume.add_argument("--reason", default="", help="kept with the event")
    for made in (pause, resume):
        what = made.add_mutually_exclusive_group(required=True)
        what.add_argument("--route", metavar="NAME")
        what.add_argument("--bundle", metavar="NAME")
        what.add_argument("--all", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    module, name = _ACTIONS[args.action]
    action: Callable[[argparse.Namespace], int] = getattr(import_module(module), name)
    return action(args)
