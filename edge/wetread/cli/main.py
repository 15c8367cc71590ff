"""Parse the command, run it, turn errors into sentences and exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 study rejected.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module

import wetread
from wetread import log
from wetread.errors import Misconfigured, StudyRejected, WetreadError

COMMANDS = {
    "serve": "wetread.cli.serve",
    "read": "wetread.cli.read",
    "send": "wetread.cli.send",
    "route": "wetread.cli.route",
    "studies": "wetread.cli.studies",
    "jobs": "wetread.cli.jobs",
    "results": "wetread.cli.results",
    "bundle": "wetread.cli.bundle",
    "learn": "wetread.cli.learn",
    "backup": "wetread.cli.backup",
    "restore": "wetread.cli.restore",
    "peers": "wetread.cli.peers",
    "doctor": "wetread.cli.doctor",
    "demo": "wetread.cli.demo",
}

DONE, FAILED, WRONG_USAGE, REJECTED = 0, 1, 2, 3


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; imports nothing heavy, so that ``--help`` is instant."""
    parser = argparse.ArgumentParser(
        prog="wetread",
        description="A preliminary read for every study. Research use, not a medical device.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 study rejected.",
    )
    parser.add_argument("--version", action="version", version=f"wetread {wetread.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module_name in COMMANDS.items():
        module = import_module(module_name)
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    args = build_parser().parse_args(arguments)
    # Before anything of a library is imported: pydicom's warnings quote values of the data set.
    log.configure_for_command()
    try:
        return int(args.run(args))
    except WetreadError as exc:
        return _explain(exc, as_json=getattr(args, "json", False))
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        sys.stderr.close()
        return DONE
    except OSError as exc:
        return _explain(_refused(exc), as_json=getattr(args, "json", False))
    except KeyboardInterrupt:
        print("wetread: interrupted", file=sys.stderr)
        return FAILED


def _refused(error: OSError) -> WetreadError:
    """What the system refused, as a sentence; what this user may not is a matter of how things are set up."""
    why = error.strerror or type(error).__name__
    if isinstance(error, PermissionError):
        return Misconfigured(f"{error.filename or 'something'} cannot be read or written by this user: {why}")
    return WetreadError(f"{error.filename}: {why}" if error.filename else f"the system says: {why}")


def _explain(error: WetreadError, *, as_json: bool) -> int:
    print(f"wetread: {error}", file=sys.stderr)
    code = exit_code(error)
    if as_json:
        state = "rejected" if code == REJECTED else "failed"
        print(json.dumps({"state": state, "code": error.code, "reason": str(error)}, ensure_ascii=False))
    return code


def exit_code(error: WetreadError) -> int:
    """The class of the error decides."""
    if isinstance(error, Misconfigured):
        return WRONG_USAGE
    return REJECTED if isinstance(error, StudyRejected) else FAILED
