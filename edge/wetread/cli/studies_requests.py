"""``wetread studies hold | release | correct``: what a person decides about one study; each stands in its timeline."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from wetread.cli.options import config_of
from wetread.records.numbers import number_of

if TYPE_CHECKING:
    from wetread.config import Config
    from wetread.store.patients import PatientSeen

Add = Callable[[str, str], argparse.ArgumentParser]

_ATTRIBUTES = {
    "patient_id": "Patient ID (0010,0020)",
    "issuer": "Issuer of Patient ID (0010,0021)",
    "name": "Patient's Name (0010,0010), Family^Given",
    "birth_date": "Patient's Birth Date (0010,0030), YYYYMMDD",
    "sex": "Patient's Sex (0010,0040): M, F, O",
    "accession_number": "Accession Number (0008,0050)",
}


def add_requests(add: Add) -> None:
    """The three actions."""
    hold = add("hold", "do not read or send anything of this study until it is released")
    hold.add_argument("--reason", required=True)
    release = add("release", "let a held study go on")
    release.add_argument("--reason", default="")
    correct = add("correct", "put patient or accession number right: the study is read again")
    for name, text in _ATTRIBUTES.items():
        option = "--accession" if name == "accession_number" else f"--{name.replace('_', '-')}"
        correct.add_argument(option, dest=name, help=f"{text}; '' makes it empty")
    correct.add_argument("--undo", action="store_true", help="take all corrections back")
    correct.add_argument("--reason", required=True)
    for parser in (hold, release, correct):
        add_study(parser)


def add_study(parser: argparse.ArgumentParser) -> None:
    """Which study."""
    parser.add_argument("study_uid", metavar="STUDY", help="Study Instance UID, or the number that studies list shows")


def run_request(args: argparse.Namespace) -> int:
    """Run one of them; says what state the study is in then."""
    from wetread.errors import Misconfigured
    from wetread.service.maintenance import open_studies
    from wetread.service.overview import Overview

    config = config_of(args)
    studies = open_studies(config)
    args.study_uid = Overview(config.data_dir).uid_of(args.study_uid)
    if args.action == "hold":
        studies.hold(args.study_uid, args.reason)
        return _done(args, "held")
    if args.action == "release":
        if not args.json:
            _tell_patients(studies.patients(args.study_uid))
        studies.release(args.study_uid, args.reason)
        status = _done(args, "released")
        return status if args.json else _tell_patient(args)
    given = {name: getattr(args, name) for name in _ATTRIBUTES if getattr(args, name) is not None}
    if args.undo:
        if given:
            raise Misconfigured("--undo takes all corrections back and goes with no attribute")
        state = studies.take_back(args.study_uid, args.reason)
        return _done(args, "corrected back", state, _already_there(config, args.study_uid))
    state = studies.correct(args.study_uid, given, args.reason)
    return _done(args, "corrected", state, _already_there(config, args.study_uid))


def _already_there(config: Config, study_instance_uid: str) -> list[str]:
    """What destinations have with the former attributes: it stays there, and somebody has to know."""
    from wetread.deliver.decisions import Choice
    from wetread.service.maintenance import open_decisions
    from wetread.service.results import what_can_be_done

    there = open_decisions(config).delivered(Choice(study_instance_uid))
    return [what_can_be_done(one, config) for one in there]


def _tell_patients(seen: Sequence[PatientSeen]) -> None:
    """Before it is decided: everybody the images name, if there is more than one."""
    from wetread.cli.table import print_block
    from wetread.store.patients import what_differs

    if len(seen) < 2:
        return
    print(f"the images name {len(seen)} patients, who differ in {', '.join(what_differs(seen))}:")
    for one in seen:
        p = one.patient
        named = f"patient ID '{p.patient_id}'", f"issuer '{p.issuer}'" if p.issuer else "", f"name '{p.name}'"
        heads = (*named, f"born '{p.birth_date}'", f"sex '{p.sex}'")
        print_block(heads, f"{number_of(one.instances, 'image')} from {', '.join(one.peers)}")


def _tell_patient(args: argparse.Namespace) -> int:
    """Whose study it is now: one that was held for two patients is read as one of them."""
    from wetread.service.overview import Overview

    patient = Overview(config_of(args).data_dir).study(args.study_uid)["patient"]
    print(f"results say patient ID '{patient['patient_id']}', name '{patient['name']}'; else: wetread studies correct")
    return 0


def _done(args: argparse.Namespace, what: str, state: str = "", there: Sequence[str] = ()) -> int:
    from wetread.cli.table import print_block, print_json

    if args.json:
        done = {"study_instance_uid": args.study_uid, "done": what}
        print_json(done | ({"state": state, "delivered_before": list(there)} if state else {}))
        return 0
    print(f"study {args.study_uid} is {what}")
    if state == "held":
        print(f"it is held; to let it go on: wetread studies release {args.study_uid}")
    elif state == "complete":
        print("what was not sent yet is withdrawn, and the study is read again")
    if there:
        print("delivered before, with the former attributes; the new report will name the old one as predecessor:")
    for sentence in there:
        print_block(("-", sentence))
    return 0
