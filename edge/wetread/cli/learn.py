"""``wetread learn``."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wetread.cli.options import add_action, config_of

if TYPE_CHECKING:
    from wetread.learn.reads.export import Exported
    from wetread.learn.reads.withdraw import Withdrawn

from wetread.records.numbers import number_of

HELP = "export signed reads to learn from, where the site opted in; withdraw a patient or study; list the exports"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = add_action(actions, "export", "write signed reads, pseudonymised, as data for wetread bundle train")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder for each bundle: DIR/BUNDLE")
    export.add_argument("--route", default="", metavar="ROUTE", help="only the reads of this route")
    export.add_argument("--since", type=_day, metavar="DATE", help="only what was signed since 2026-01-31")
    withdraw = add_action(
        actions, "withdraw", "never export it again, delete exported copies, say what learned from them"
    )
    whom = withdraw.add_mutually_exclusive_group(required=True)
    whom.add_argument("--patient", default="", metavar="ID", help="every study of this Patient ID")
    whom.add_argument("--study", default="", metavar="UID", help="one study, whether it is still here or not")
    add_action(actions, "list", "the exports so far")


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    return {"export": _export, "withdraw": _withdraw, "list": _list}[args.action](args)


def _day(given: str) -> str:
    try:
        return date.fromisoformat(given).isoformat()
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"got {given!r}, expected a date such as 2026-01-31") from exc


def _export(args: argparse.Namespace) -> int:
    from wetread.cli.table import print_json
    from wetread.service.learning import open_reads_export

    exports = open_reads_export(config_of(args)).export(args.out, route=args.route, since=args.since or "")
    if args.json:
        print_json({"exports": [_export_document(export) for export in exports]})
    elif not exports:
        print("no read that was opted in to is signed")
    else:
        for export in exports:
            _print_export(export)
    return 0


def _export_document(export: Exported) -> dict[str, Any]:
    return {
        "id": export.id,
        "bundle": export.bundle,
        "folder": export.folder,
        "cases": export.cases,
        "patients": export.patients,
        "left_out": dict(export.left_out),
    }


def _print_export(export: Exported) -> None:
    from wetread.cli.table import print_block

    left_out = [f"left out {count}: {reason}" for reason, count in sorted(export.left_out.items())]
    if not export.id:
        print_block((f"{export.bundle}: nothing to export",), *left_out)
        return
    following = f"wetread bundle train {export.bundle} --data {export.folder}"
    heads = (
        f"{export.bundle}: {number_of(export.cases, 'read')} of {number_of(export.patients, 'patient')}",
        f"export {export.id}",
    )
    print_block(heads, *left_out, f"next: {following}")


def _withdraw(args: argparse.Namespace) -> int:
    from wetread.cli.table import print_json
    from wetread.service.learning import open_withdrawal

    withdrawal = open_withdrawal(config_of(args))
    done = withdrawal.patient(args.patient) if args.patient else withdrawal.study(args.study)
    gone = all(copy.is_here for copy in done.copies)
    if args.json:
        print_json(_withdrawn_document(done))
        return 0 if gone else 1
    _print_withdrawn(done)
    return 0 if gone else 1


def _withdrawn_document(done: Withdrawn) -> dict[str, Any]:
    return {
        "withdrawn": done.kind,
        "exports": [
            {"id": c.export_id, "bundle": c.bundle, "folder": c.folder, "cases": c.cases, "deleted": c.is_here}
            for c in done.copies
        ],
        "trained": [
            {"bundle": t.bundle, "version": t.version, "folder": t.folder, "exports": list(t.exports)}
            for t in done.trained
        ],
    }


def _print_withdrawn(done: Withdrawn) -> None:
    from wetread.cli.table import print_block

    print(f"the {done.kind} is withdrawn and will not be exported again")
    for copy in done.copies:
        said = "deleted" if copy.is_here else "NOT deleted: it is not there any more; delete it where it is now"
        print_block((f"{number_of(copy.cases, 'read')} in export {copy.export_id}", said), copy.folder)
    for version in done.trained:
        print_block((f"trained with them: {version.bundle} {version.version}",), version.folder)
    if not done.copies:
        print("nothing of it was ever exported")
    elif not done.trained:
        print("no bundle in the bundle folders was trained with these exports")
    else:
        print("what was learned stays in the weights: train anew from a new export, or take the version out of use")


def _list(args: argparse.Namespace) -> int:
    from wetread.cli.table import print_block, print_json, short_time
    from wetread.service.learning import open_register

    exports = [dict(row) for row in open_register(config_of(args)).exports()]
    if args.json:
        print_json({"exports": exports})
        return 0
    if not exports:
        print("nothing was exported")
    for export in exports:
        counts = f"{number_of(export['cases'], 'read')} of {number_of(export['patients'], 'patient')}"
        removed = f"{export['removed']} withdrawn" if export["removed"] else ""
        heads = (short_time(export["made_at"]), export["bundle"], counts, removed, f"by {export['made_by']}")
        print_block(heads, f"export {export['id']}", export["folder"])
    return 0
