"""``wetread restore``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from wetread.cli.options import add_config, add_json, config_of
from wetread.records.numbers import number_of

HELP = "put a backup into an empty data folder; what was open then is held until you release it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("file", type=Path, metavar="FILE", help="made by wetread backup")
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Restore one backup."""
    from wetread.cli.table import print_json
    from wetread.service.backup import restore

    summary = restore(args.file, config_of(args).data_dir)
    if args.json:
        print_json({"file": str(args.file), **dataclasses.asdict(summary)})
        return 0
    print(f"{number_of(summary.files, 'file')} restored, as they were at {summary.made_at}")
    if summary.held_studies or summary.held_results:
        print(
            f"held: {summary.held_studies} studies not finished then, {summary.held_results} results not delivered then"
        )
        print("both may have been done since; see: wetread studies list")
    return 0
