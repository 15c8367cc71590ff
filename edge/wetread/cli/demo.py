"""``wetread demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from wetread.cli.options import ENGINES

HELP = "the whole way on this machine: send a head MR, read it, see the results arrive in a PACS"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("--out", type=Path, default=Path("demo-out"), metavar="FOLDER", help="where the page goes")
    parser.add_argument("--keep", action="store_true", help="leave everything running to send studies of your own")
    parser.add_argument("--engine", default="auto", choices=["auto", *ENGINES])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 when everything arrived."""
    from wetread.demo.run import DemoOptions, run_demo

    return run_demo(DemoOptions(out=args.out, keep=args.keep, engine=args.engine, as_json=args.json))
