"""``wetread-desk check``."""

from __future__ import annotations

import argparse

HELP = "whether the edge that is set answers, and takes our token"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("--edge", metavar="URL", default="", help="another edge than the one that is set")


def run(args: argparse.Namespace) -> int:
    """Ask for its health and, with the token, for one study.

    Exit codes: 0 it answers and takes the token, 1 it does not, 2 what was given or set is no address.
    """
    from dataclasses import replace

    from wetread_desktop.client.edge import Edge
    from wetread_desktop.client.settings import SettingsFolder, SettingsInvalid

    folder = SettingsFolder(args.profile)
    settings = folder.load()
    if args.edge:
        settings = replace(settings, url=args.edge)
    if not settings.url:
        raise SettingsInvalid(f"no edge is set in {folder.folder}; use --edge URL")
    edge = Edge(settings.address(folder.token()))
    health = edge.health()
    edge.studies(limit=1)
    print(f"{settings.url}: Wetread {health.version} is {health.state}, the token is good")
    for sentence in health.problems:
        print(f"  {sentence}")
    return 0
