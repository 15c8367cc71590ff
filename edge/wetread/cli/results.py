"""``wetread results``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from wetread.cli.options import add_action, config_of, positive, reason

if TYPE_CHECKING:
    from wetread.config import Config
    from wetread.deliver.decisions import Choice

from wetread.records.numbers import number_of

HELP = "list what was sent where, let held results go, try again now, take back what was not sent; destinations"

_STATES = ("pending", "held", "delivered", "withdrawn")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = add_action(actions, "list", "the latest results and how far they got")
    listing.add_argument("--state", default="", choices=_STATES, help="only jobs with objects in this state")
    listing.add_argument("--limit", type=positive, default=100, metavar="N", help="at most so many (default 100)")
    show = add_action(actions, "show", "every object of a job or study: where it is, how we know, what is wrong")
    show.add_argument("target", metavar="JOB|STUDY", help="job id or the beginning of it, or Study Instance UID")
    release = add_action(
        actions, "release", "let held results go; the reason for holding them does not hold them again"
    )
    release.add_argument("target", metavar="JOB|STUDY", nargs="?", default="")
    release.add_argument("--all", action="store_true", help="everything that is held")
    retry = add_action(actions, "retry", "try what waits now, what was refused too, also at a destination that is away")
    retry.add_argument("target", metavar="JOB|STUDY", nargs="?", default="")
    retry.add_argument("--object", dest="sop_instance_uid", default="", metavar="UID", help="only this object of it")
    retry.add_argument("--destination", default="", metavar="NAME", help="only for this destination")
    retry.add_argument("--all", action="store_true", help="everything that waits")
    recall = add_action(actions, "recall", "withdraw what was not delivered, and say what can be done about the rest")
    recall.add_argument("target", metavar="JOB|STUDY")
    for action in (release, recall):
        action.add_argument("--destination", default="", metavar="NAME", help="only for this destination")
        action.add_argument("--reason", type=reason, required=True, help="kept with the results and in the timeline")
    add_action(actions, "destinations", "each destination: which rendition it gets and who decided, what waits for it")
    again = add_action(
        actions, "negotiate", "ask a destination again, before its next object, which rendition it takes"
    )
    again.add_argument("destination", metavar="DESTINATION")


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    from wetread.cli import results_destinations

    actions = {
        "list": _list,
        "show": _show,
        "release": _release,
        "retry": _retry,
        "recall": _recall,
        "destinations": results_destinations.show,
        "negotiate": results_destinations.negotiate,
    }
    return actions[args.action](args, config_of(args))


def _list(args: argparse.Namespace, config: Config) -> int:
    from wetread.cli.table import print_json
    from wetread.service.maintenance import open_results

    jobs = open_results(config).jobs(state=args.state, limit=args.limit)
    if args.json:
        print_json({"results": jobs})
        return 0
    if not jobs:
        print("no results to send")
    for job in jobs:
        _print_job(job)
    return 0


def _print_job(job: dict[str, Any]) -> None:
    from wetread.cli.table import print_block, short_time

    counts = [f"{job[name]} {name}" for name in (*_STATES, "verified", "refused") if job[name]]
    heads = (job["job_id"], short_time(job["finished_at"] or ""), job["route"], f"to {job['destination']}:")
    print_block((*heads, ", ".join(counts)), job["study_instance_uid"], job["reason"])


def _show(args: argparse.Namespace, config: Config) -> int:
    from wetread.cli.table import print_json
    from wetread.service.maintenance import open_results
    from wetread.service.overview import Overview

    overview = Overview(config.data_dir)
    if "." in args.target:
        job_ids = [job["id"] for job in overview.study(args.target)["jobs"]]
    else:
        job_ids = [overview.job(args.target)["id"]]
    jobs = {job_id: open_results(config).of_job(job_id) for job_id in job_ids}
    if args.json:
        print_json({"jobs": [{"job_id": job_id, "objects": objects} for job_id, objects in jobs.items()]})
        return 0
    for job_id, objects in jobs.items():
        print(f"job {job_id}" if objects else f"job {job_id}: nothing to send")
        for delivery in objects:
            print_delivery(delivery)
    return 0


def print_delivery(delivery: dict[str, Any]) -> None:
    """One object at one destination."""
    from wetread.cli.table import print_block

    tries = "1 try" if delivery["attempts"] == 1 else f"{delivery['attempts']} tries"
    heads = (delivery["kind"], f"to {delivery['destination']}", delivery["state"], tries)
    verified = f"verified by {delivery['verified']}" if delivery["verified"] else ""
    confirmed = f"confirmed by a person: {delivery['confirmed']}" if delivery["confirmed"] else ""
    refused = "refused for what it is" if delivery["refused"] else ""
    lines = (
        delivery["sop_instance_uid"],
        delivery["hold_reason"],
        refused,
        delivery["last_error"],
        _next_try(delivery),
    )
    print_block((*heads, verified), *lines, delivery["warning"], confirmed)


def _next_try(delivery: dict[str, Any]) -> str:
    from wetread.cli.table import short_time
    from wetread.db import now

    if delivery["state"] != "pending" or delivery["hold_reason"]:
        return ""
    due, behind = delivery["available_at"], delivery["tried_next_at"] or ""
    if due > now():
        return f"next try {short_time(due)}; at once with: wetread results retry"
    if behind > now():
        where = f"{delivery['destination']}, where others failed"
        return f"waits for {where}: next try {short_time(behind)}; at once with: wetread results retry"
    return "due now"


def _choice(args: argparse.Namespace) -> Choice:
    from wetread.deliver.decisions import Choice

    return Choice(args.target, args.destination)


def _release(args: argparse.Namespace, config: Config) -> int:
    from wetread.cli.table import print_json
    from wetread.errors import Misconfigured
    from wetread.service.maintenance import open_decisions

    if bool(args.target) == args.all:
        raise Misconfigured("say which results: a job, a study, or --all")
    count = open_decisions(config).release(_choice(args), args.reason)
    if args.json:
        print_json({"released": count})
    else:
        print(f"{number_of(count, 'object')} will be sent")
    return 0


def _retry(args: argparse.Namespace, config: Config) -> int:
    from wetread.cli.table import print_json
    from wetread.errors import Misconfigured
    from wetread.service.maintenance import open_decisions
    from wetread.service.ownership import owner_of

    if args.all == bool(args.target or args.destination):
        raise Misconfigured("say which results: a job, a study, --destination NAME, or --all")
    count = open_decisions(config).retry(_choice(args), args.sop_instance_uid)
    if args.json:
        print_json({"tried_now": count})
        return 0
    print(f"{number_of(count, 'object is', 'objects are')} tried now; see: wetread results show")
    if owner_of(config.data_dir) is None:
        print("wetread serve is not running; they are tried when it starts")
    return 0


def _recall(args: argparse.Namespace, config: Config) -> int:
    from wetread.cli.table import print_block, print_json
    from wetread.service.maintenance import open_decisions
    from wetread.service.results import what_can_be_done

    recalled = open_decisions(config).recall(_choice(args), args.reason)
    advice = [what_can_be_done(there, config) for there in recalled.there]
    if args.json:
        print_json({"withdrawn": recalled.withdrawn, "delivered": advice})
        return 0
    unsent = number_of(recalled.withdrawn, "object that was not sent yet is", "objects that were not sent yet are")
    print(f"{unsent} withdrawn")
    for sentence in advice:
        print_block((sentence,))
    return 0
