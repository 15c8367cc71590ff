"""``wetread doctor``."""

from __future__ import annotations

import argparse

from wetread.cli.options import add_config, add_json, config_of

HELP = "look for what is wrong with this installation and say what to do"
PRINTS = "a list with one object for each thing that was looked at: check, ok, found, advice"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.epilog = f"--json prints {PRINTS}."
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """0 when nothing is wrong, 1 otherwise."""
    from rich.console import Console

    from wetread.cli.table import print_json
    from wetread.service.doctor import examine

    checks = examine(config_of(args))
    if args.json:
        print_json([{"check": c.name, "ok": c.ok, "found": c.found, "advice": c.advice} for c in checks])
    else:
        console = Console()
        for check in checks:
            console.print("ok  " if check.ok else "BAD ", style="green" if check.ok else "bold red", end="")
            console.print(f"{check.name}: {check.found}", markup=False, highlight=False)
            if check.advice:
                console.print(f"      {check.advice}", markup=False, highlight=False)
    return 0 if all(c.ok for c in checks) else 1
