"""``wetread jobs``."""

from __future__ import annotations

import argparse

from wetread.cli.options import add_config, add_json, config_of

HELP = "list reads, show one with its attempts and results, retry or cancel one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the latest reads")
    listing.add_argument(
        "--state", default="", choices=["waiting", "running", "done", "rejected", "failed", "cancelled"]
    )
    for name, text in (
        ("show", "one read: reason, attempts, findings, results, deliveries"),
        ("retry", "do a failed, rejected or cancelled read again"),
        ("cancel", "take a waiting read out of the queue"),
    ):
        actions.add_parser(name, help=text).add_argument("job_id")
    for action in actions.choices.values():
        add_config(action)
        add_json(action)


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    from wetread.service.maintenance import open_queue
    from wetread.service.overview import Overview

    config = config_of(args)
    if args.action == "retry":
        open_queue(config).retry(args.job_id)
    elif args.action == "cancel":
        open_queue(config).cancel(args.job_id)
    overview = Overview(config.data_dir)
    if args.action == "list":
        return _print_list(overview.jobs(state=args.state), as_json=args.json)
    return _print_job(overview.job(args.job_id), as_json=args.json)


def _print_list(jobs: list[dict[str, object]], *, as_json: bool) -> int:
    from wetread.cli.table import print_json, print_table

    if as_json:
        print_json(jobs)
        return 0
    columns = ("id", "created_at", "route", "bundle", "state", "progress", "attempts", "reason")
    print_table("Jobs", columns, ([j[c] for c in columns] for j in jobs))
    return 0


def _print_job(job: dict[str, object], *, as_json: bool) -> int:
    from wetread.cli.table import print_json, print_pairs, print_table

    if as_json:
        print_json(job)
        return 0
    print_pairs({k: v for k, v in job.items() if not isinstance(v, list)})
    for name, rows in job.items():
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            print_table(name.replace("_", " ").capitalize(), list(rows[0]), ([r[c] for c in rows[0]] for r in rows))
    return 0
