"""``wetread jobs``."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from wetread.cli.options import add_config, add_json, config_of, positive
from wetread.records.states import JOB_STATES

if TYPE_CHECKING:
    from wetread.config import Config
    from wetread.service.overview import Overview

HELP = "list reads, show one with its attempts and results, retry or cancel one"


_SHOWN_BELOW = ("predicted_mb", "predicted_s", "peak_memory_mb", "engine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the latest reads")
    listing.add_argument("--state", default="", choices=JOB_STATES)
    listing.add_argument("--route", default="", metavar="NAME", help="only of this route")
    listing.add_argument("--study", default="", metavar="UID", help="only of this study (UID or number)")
    listing.add_argument(
        "--since", default="", metavar="WHEN", help="only newer ones: an age such as 30m, 12h, 7d, or a date"
    )
    listing.add_argument("--patient", action="store_true", help="show the Patient ID, too")
    listing.add_argument("--limit", type=positive, default=100, metavar="N", help="at most so many (default 100)")
    for name, text in (
        ("show", "one read: reason, attempts, findings, comparisons, results, deliveries"),
        ("retry", "do a failed, rejected or cancelled read again"),
        ("cancel", "take a waiting read out of the queue, or end a running one"),
    ):
        actions.add_parser(name, help=text).add_argument("job_id", help="or the beginning of it")
    for action in actions.choices.values():
        add_config(action)
        add_json(action)


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    from wetread.service.overview import Overview

    config = config_of(args)
    overview = Overview(config.data_dir)
    if args.action == "list":
        study, since = overview.uid_of(args.study) if args.study else "", _since(args.since)
        found = overview.jobs(state=args.state, route=args.route, study=study, since=since, limit=args.limit)
        if not args.patient:
            found = [{k: v for k, v in job.items() if k != "patient_id"} for job in found]
        return _print_list(found, as_json=args.json)
    job_id = overview.job(args.job_id)["id"]
    if args.action == "retry":
        _requests(config).retry(job_id)
    elif args.action == "cancel":
        _requests(config).cancel(job_id)
        _wait_until_ended(config, overview, job_id)
    return _print_job(overview.job(job_id), as_json=args.json)


def _requests(config: Config) -> Any:
    from wetread.service.maintenance import open_requests

    return open_requests(config)


def _since(text: str) -> str:
    """An age or a date as the database writes times. Raises: ``Misconfigured``."""
    from datetime import UTC, datetime

    from wetread.db import now
    from wetread.errors import Misconfigured

    if not text:
        return ""
    if age := re.fullmatch(r"(\d+)([mhd])", text):
        return now(-int(age[1]) * {"m": 60, "h": 3600, "d": 86400}[age[2]])
    try:
        at = datetime.fromisoformat(text)
    except ValueError as exc:
        raise Misconfigured(f"--since {text!r} is neither an age (30m, 12h, 7d) nor a date (2026-03-14T15:09)") from exc
    return at.astimezone(UTC).isoformat(timespec="milliseconds")  # without a zone: this machine's, as times are shown


def _wait_until_ended(config: Config, overview: Overview, job_id: str) -> None:
    """The coordinator ends a running job within a moment; without one, its next start does."""
    import threading

    from wetread.service.ownership import owner_of

    tick = threading.Event()
    for _ in range(50):
        if overview.job(job_id)["state"] != "running" or owner_of(config.data_dir) is None:
            return
        tick.wait(0.1)


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
        print_block((*heads, progress), _study(job), job["reason"])
    return 0


def _study(job: dict[str, Any]) -> str:
    """How a person finds the study: its number, the end of its UID, and the order; the patient only if asked for."""
    uid = job["study_instance_uid"]
    accession = f"accession {job['accession_number']}" if job["accession_number"] else ""
    patient = f"patient {job['patient_id']}" if job.get("patient_id") else ""
    parts = (f"study {job['study_number']}", f"UID …{uid[-12:]}", accession, job["description"], patient)
    return "  ".join(part for part in parts if part)


def _measures(job: dict[str, Any]) -> dict[str, str]:
    """What it was predicted to take, what it took, and what computed it."""
    from wetread.service.documents import measured_text, prediction_text

    engine = job["engine"]
    return {
        "predicted": prediction_text(job["prediction"]) if job["prediction"] or job["timings"] else "",
        "measured": measured_text(job),
        "engine": f"{engine['name']} {engine['precision']} ({engine['reason']})" if engine else "",
    }


def _print_job(job: dict[str, Any], *, as_json: bool) -> int:
    from wetread.cli.results import print_delivery
    from wetread.cli.table import print_block, print_json, print_pairs, short_time
    from wetread.service.documents import finding_text, series_text

    if as_json:
        print_json(job)
        return 0
    print_pairs(
        {k: v for k, v in job.items() if k not in _SHOWN_BELOW and not isinstance(v, (list, dict))} | _measures(job)
    )
    print("\nSeries")
    for series in job["series"]:
        print_block((series_text(series),))
    print("\nAttempts")
    for attempt in job["attempts_made"]:
        print_block((attempt["number"], short_time(attempt["started_at"]), attempt["outcome"]), attempt["reason"])
    print("\nFindings")
    for finding in job.get("findings", ()):
        print_block((finding["name"], finding_text(finding)))
    if job.get("warnings") or job.get("driven"):
        print("\nNotes")
        for warning in job.get("warnings", ()):
            print_block((warning,), "")
        tier, *adapted = job.get("driven") or ("",)
        print_block((f"driven by {tier}" if tier else "",), "; ".join(adapted))
    for comparison in job["comparisons"]:
        _print_comparison(comparison)
    print("\nResults")
    for result in job["results"]:
        print_block((f"{result['kind']:<4}", result["rendition"], result["path"]))
    print("\nDeliveries")
    for delivery in job["deliveries"]:
        print_delivery(delivery)
    return 0


def _print_comparison(comparison: dict[str, Any]) -> None:
    from wetread.cli.table import print_block

    print(f"\nShadow {comparison['shadow_job_id']} beside live {comparison['live_job_id']}")
    if not comparison["compared_at"]:
        print("  to be compared")
    if comparison.get("problem"):
        print_block((comparison["problem"],))
    for structure in comparison.get("structures", ()):
        overlap = f"Dice {structure['dice']:.3f}" if structure["dice"] is not None else ""
        lines = [
            f"{m['name']}: {_number(m['shadow'])} beside {_number(m['live'])} {m['unit']}"
            for m in structure["measurements"]
        ]
        print_block((structure["name"], structure["verdict"], overlap), *lines)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
