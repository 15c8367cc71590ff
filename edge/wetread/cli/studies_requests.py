"""``wetread studies hold | release | correct``: what a person decides about one study; each stands in its timeline."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from wetread.cli.options import config_of

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
        parser.add_argument("study_uid")


def run_request(args: argparse.Namespace) -> int:
    """Run one of them; says what state the study is in then."""
    from wetread.errors import Misconfigured
    from wetread.service.maintenance import open_studies

    studies = open_studies(config_of(args))
    if args.action == "hold":
        studies.hold(args.study_uid, args.reason)
        return _done(args, "held")
    if args.action == "release":
        studies.release(args.study_uid, args.reason)
        status = _done(args, "released")
        return status if args.json else _tell_patient(args)
    given = {name: getattr(args, name) for name in _ATTRIBUTES if getattr(args, name) is not None}
    if args.undo:
        if given:
            raise Misconfigured("--undo takes all corrections back and goes with no attribute")
        return _done(args, "corrected back", studies.take_back(args.study_uid, args.reason))
    return _done(args, "corrected", studies.correct(args.study_uid, given, args.reason))


def _tell_patient(args: argparse.Namespace) -> int:
    """Whose study it is now: one that was held for two patients is read as one of them."""
    from wetread.service.overview import Overview

    patient = Overview(config_of(args).data_dir).study(args.study_uid)["patient"]
    print(f"results say patient ID '{patient['patient_id']}', name '{patient['name']}'; else: wetread studies correct")
    return 0


def _done(args: argparse.Namespace, what: str, state: str = "") -> int:
    from wetread.cli.table import print_json

    if args.json:
        print_json({"study_instance_uid": args.study_uid, "done": what} | ({"state": state} if state else {}))
        return 0
    print(f"study {args.study_uid} is {what}")
    if state == "held":
        print(f"it is held; to let it go on: wetread studies release {args.study_uid}")
    elif state == "complete":
        print("what was not sent yet is withdrawn, and the study is read again")
    return 0
