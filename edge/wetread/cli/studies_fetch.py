"""``wetread studies fetch``."""

from __future__ import annotations

import argparse

from wetread.cli.options import config_of
from wetread.records.numbers import number_of


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this action."""
    parser.add_argument("study_uid")
    parser.add_argument("--from", dest="peer", default="", metavar="PEER", help="ask only this peer")
    parser.add_argument(
        "--prior", action="store_true", help="not that study: the patient's latest earlier one of the same modality"
    )


def run(args: argparse.Namespace) -> int:
    """Fetch; 0 when the peer sent everything."""
    from wetread import log
    from wetread.cli.table import print_json
    from wetread.service.fetch import fetch

    log.configure_for_command()
    fetched = fetch(config_of(args), args.study_uid, peer_name=args.peer, prior=args.prior)
    done = fetched.retrieved
    if args.json:
        print_json(
            {
                "study_instance_uid": fetched.study_instance_uid,
                "peer": fetched.peer,
                "how": done.how,
                "completed": done.completed,
                "failed": done.failed,
            }
        )
    else:
        came = number_of(done.completed, "instance")
        print(f"study {fetched.study_instance_uid}: {came} from {fetched.peer} by {done.how}")
        if done.failed:
            print(
                f"{number_of(done.failed, 'instance')} did not come; see the archive's log, and: wetread peers refused"
            )
    return 1 if done.failed else 0
