"""``wetread-desk``: parse the command, run it, turn errors into sentences and exit codes.

Exit codes, which a launcher in another viewer can show: 0 done, 1 failed, 2 wrong usage or settings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from wetread_desktop import __version__

COMMANDS = {
    "open": "wetread_desktop.cli.open",
    "check": "wetread_desktop.cli.check",
    "integrate": "wetread_desktop.cli.integrate",
}

DONE, FAILED, WRONG_USAGE = 0, 1, 2


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; imports nothing heavy, so that ``--help`` is instant."""
    parser = argparse.ArgumentParser(
        prog="wetread-desk",
        description="Wetread beside the radiologist's viewer. Research use, not a medical device.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or settings.",
    )
    parser.add_argument("--version", action="version", version=f"wetread-desk {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module_name in COMMANDS.items():
        module = import_module(module_name)
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        command.add_argument("--profile", type=Path, metavar="FOLDER", help="settings, token and unsent decisions")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    from wetread_desktop.client.errors import AddressInvalid, EdgeError
    from wetread_desktop.client.settings import SettingsInvalid

    args = build_parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except (AddressInvalid, SettingsInvalid) as exc:
        print(f"wetread-desk: {exc}", file=sys.stderr)
        return WRONG_USAGE
    except EdgeError as exc:
        print(f"wetread-desk: {exc}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED
