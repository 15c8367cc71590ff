"""``wetread studies``."""

from __future__ import annotations

import argparse
import itertools
from typing import Any

from wetread.cli import studies_fetch
from wetread.cli.options import add_action, config_of, positive
from wetread.cli.studies_requests import add_requests, add_study, run_request
from wetread.records.numbers import number_of
from wetread.records.states import STUDY_STATES

HELP = "list and show studies with their timeline; hold, release, correct or erase one; rebuild the index"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _list_options(add_action(actions, "list", "the latest studies and what became of them"))
    add_study(add_action(actions, "show", "series, routing decisions, jobs and timeline of one study"))
    add_requests(lambda name, text: add_action(actions, name, text))
    erase = add_action(actions, "erase", "remove images, results and timeline of one study from this machine")
    add_study(erase)
    erase.add_argument("--yes", action="store_true", help="it cannot be undone")
    studies_fetch.add_options(add_action(actions, "fetch", "have an archive send a study here, or the one before it"))
    add_action(actions, "reindex", "rebuild a lost database from the spool; every study is held until released")


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    actions = {"list": _list, "show": _show, "erase": _erase, "fetch": studies_fetch.run, "reindex": _reindex}
    return actions.get(args.action, run_request)(args)


def _list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", choices=STUDY_STATES, default="", help="only studies in this state")
    parser.add_argument("--patient", default="", metavar="ID", help="only this Patient ID, as received or corrected")
    parser.add_argument("--accession", default="", metavar="NUMBER", help="only this Accession Number")
    parser.add_argument(
        "--limit", type=positive, default=100, metavar="N", help="at most so many (default %(default)s)"
    )


def _list(args: argparse.Namespace) -> int:
    from wetread.cli.table import print_block, print_json, short_time
    from wetread.service.overview import Overview

    overview = Overview(config_of(args).data_dir)
    asked = {"state": args.state, "patient_id": args.patient, "accession_number": args.accession}
    studies, unreadable = overview.studies(**asked, limit=args.limit), overview.unreadable()
    if args.json:
        print_json({"studies": studies, "unreadable": unreadable})
        return 0
    if not studies:
        print("no such study" if any(asked.values()) else "no study was received yet")
    for study in studies:
        accession = f"accession {study['accession_number']}" if study["accession_number"] else ""
        number = f"study {study['number']}"
        heads = (number, short_time(study["received_at"]), f"{study['state']:<11}", study["patient_id"], accession)
        print_block((*heads, study["description"]), study["study_instance_uid"], study["reason"])
    if unreadable:
        print("\nInstances that were set aside (files in the spool)")
        for instance in unreadable:
            print_block((short_time(instance["found_at"]), instance["path"]), instance["reason"])
    return 0


def _show(args: argparse.Namespace) -> int:
    from wetread.cli.table import print_block, print_json, print_pairs, short_time
    from wetread.service.overview import Overview

    overview = Overview(config_of(args).data_dir)
    study = overview.study(overview.uid_of(args.study_uid))
    if args.json:
        print_json(study)
        return 0
    patient = {f"patient {name}": value for name, value in study["patient"].items() if name != "patient_id"}
    print_pairs(patient | {name: value for name, value in study.items() if not isinstance(value, list | dict)})
    print("\nRevisions")
    for revision in study["revisions"]:
        made = (short_time(revision["created_at"]), f"revision {revision['number']}", revision["evidence"])
        print_block(made, revision["reason"])
    print("\nSeries")
    for series in study["series"]:
        print_block((series["number"], series["modality"], series["description"], series["role"], series["instances"]))
    print("\nRouting")
    for decision in study["decisions"]:
        heads = (f"revision {decision['revision']}, route {decision['route']}: {decision['outcome']}",)
        print_block(heads, decision["reason"], *decision["verdicts"])
    print("\nJobs")
    for job in study["jobs"]:
        print_block((job["id"], job["route"], job["mode"], job["bundle"], job["state"]), job["reason"])
    print("\nTimeline")
    for event, count in _runs(study["timeline"]):
        times = f"({count} times)" if count > 1 else ""
        print_block((short_time(event["at"]), f"{event['action']:<14}", event["detail"], times))
    return 0


def _runs(timeline: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Events one after the other that say the same of the same job, as the first of them and how many: one event for
    each instance would bury the rest."""
    same = itertools.groupby(timeline, key=lambda e: (e["action"], e["detail"], e["job_id"]))
    return [(events[0], len(events)) for events in (list(group) for _, group in same)]


def _erase(args: argparse.Namespace) -> int:
    from wetread.errors import Misconfigured
    from wetread.service.erase import erase_study
    from wetread.service.overview import Overview

    if not args.yes:
        raise Misconfigured("erasing cannot be undone, and removes nothing from the PACS; say --yes")
    config = config_of(args)
    args.study_uid = Overview(config.data_dir).uid_of(args.study_uid)
    erase_study(config, args.study_uid)
    return _done(args, "erased")


def _done(args: argparse.Namespace, state: str) -> int:
    from wetread.cli.table import print_json

    if args.json:
        print_json({"study_instance_uid": args.study_uid, "done": state})
    else:
        print(f"study {args.study_uid} is {state}")
    return 0


def _reindex(args: argparse.Namespace) -> int:
    from wetread.cli.table import print_json
    from wetread.service.maintenance import rebuild_index

    count = rebuild_index(config_of(args).data_dir)
    if args.json:
        print_json({"instances": count})
    else:
        print(f"{number_of(count, 'instance')} indexed; every study is held, see: wetread studies list")
    return 0
