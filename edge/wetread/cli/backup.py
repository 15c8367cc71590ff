"""``wetread backup``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from wetread.cli.options import add_config, add_json, config_of
from wetread.records.numbers import number_of

HELP = "write the database, received images and results into one file; the service may run meanwhile"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a new .tar file; readable by you alone")
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Make one backup."""
    from wetread.cli.table import print_json
    from wetread.service.backup import back_up

    summary = back_up(config_of(args).data_dir, args.file)
    if args.json:
        print_json({"file": str(args.file), **dataclasses.asdict(summary)})
    else:
        files, size_mib = number_of(summary.files, "file"), summary.size_bytes / 2**20
        print(f"{args.file}: {files}, {size_mib:.1f} MiB, made {summary.made_at}")
    return 0
