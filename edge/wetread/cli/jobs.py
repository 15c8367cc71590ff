"""``wetread jobs``."""

from __future__ import annotations

import argparse
from typing import Any

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


def _print_list(jobs: list[dict[str, Any]], *, as_json: bool) -> int:
    from wetread.cli.table import print_block, print_json, short_time

    if as_json:
        print_json({"jobs": jobs})
        return 0
    if not jobs:
        print("no jobs")
    for job in jobs:
        heads = (job["id"], short_time(job["created_at"]), f"{job['state']:<9}", job["route"], job["bundle"])
        progress = job["progress"] if job["state"] == "running" else ""
        print_block((*heads, progress), job["reason"])
    return 0


def _print_job(job: dict[str, Any], *, as_json: bool) -> int:
    from wetread.cli.table import print_block, print_json, print_pairs, short_time

    if as_json:
        print_json(job)
        return 0
    print_pairs({k: v for k, v in job.items() if not isinstance(v, list)})
    print("\nAttempts")
    for attempt in job["attempts_made"]:
        print_block((attempt["number"], short_time(attempt["started_at"]), attempt["outcome"]), attempt["reason"])
    print("\nFindings")
    for finding in job.get("findings", ()):
        measured = ", ".join(f"{name} {value:.1f} {unit}" for name, value, unit in finding["measurements"])
        print_block((finding["name"], measured))
    if job.get("warnings") or job.get("driven"):
        print("\nNotes")
        for warning in job.get("warnings", ()):
            print_block((warning,), "")
        tier, *adapted = job.get("driven") or ("",)
        print_block((f"driven by {tier}" if tier else "",), "; ".join(adapted))
    print("\nResults")
    for result in job["results"]:
        print_block((f"{result['kind']:<4}", result["path"]))
    print("\nDeliveries")
    for delivery in job["deliveries"]:
        heads = (delivery["kind"], f"to {delivery['destination']}", delivery["state"], f"{delivery['attempts']} tries")
        print_block(heads, delivery["last_error"])
    return 0
