"""``wetread send``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wetread.cli.options import add_json

if TYPE_CHECKING:
    from wetread.dimse.scu import Remote, SendReport
    from wetread.dimse.tls import RemoteTls
    from wetread.images.outgoing import Outgoing

from wetread.records.numbers import number_of

_SHOWN = 20
"""Files named on the terminal, of those with one fate."""

HELP = "send the DICOM files of a folder to a peer by C-STORE"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("folder", type=Path, help="folder, searched with its subfolders")
    parser.add_argument("--to", required=True, metavar="HOST:PORT")
    parser.add_argument("--called", required=True, metavar="AE", help="AE title of the peer")
    parser.add_argument("--calling", default="WETREAD", metavar="AE", help="our AE title (default WETREAD)")
    tls = parser.add_argument_group("TLS", "DICOM TLS 1.2 or 1.3 (BCP 195); paths are PEM files")
    tls.add_argument("--tls", action="store_true", help="call the peer with TLS")
    tls.add_argument(
        "--ca", default="", metavar="FILE", help="who may have signed its certificate (default: the system's)"
    )
    tls.add_argument(
        "--pin", default="", metavar="CERT", help="its certificate: sha256:... or subject; no host name then"
    )
    tls.add_argument("--cert", default="", metavar="FILE", help="our certificate, if the peer asks for one")
    tls.add_argument("--key", default="", metavar="FILE", help="its private key, readable by you alone")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Send; 0 when the peer took every instance of the folder."""
    from rich.console import Console
    from rich.progress import Progress

    from wetread.dimse.scu import send_files
    from wetread.errors import Misconfigured
    from wetread.images.outgoing import outgoing

    remote = _remote(args)
    if not args.folder.exists():
        raise Misconfigured(f"there is no {args.folder}")
    files = outgoing(args.folder)
    if not files.paths and not files.broken:
        raise Misconfigured(f"no DICOM files in {args.folder}")
    console = Console(stderr=True)
    with Progress(console=console, disable=args.json or not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"to {args.called}", total=len(files.paths))

        def advance(_: SendReport) -> None:
            progress.advance(task)

        reports = send_files(remote, files.paths, on_report=advance)
    return _show(reports, files, args)


def _remote(args: argparse.Namespace) -> Remote:
    """Whom to call and how. Raises: ``Misconfigured`` when an option or a file of keys is not usable."""
    from wetread.dimse.scu import Remote
    from wetread.errors import Misconfigured

    host, _, port = args.to.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise Misconfigured(f"--to is {args.to!r}, expected HOST:PORT")
    for option, title in (("--called", args.called), ("--calling", args.calling)):
        if not title.strip() or len(title) > 16 or "\\" in title:
            raise Misconfigured(f"{option} is {title!r}, an AE title has 1 to 16 characters and no backslash")
    return Remote(host.strip("[]"), int(port), args.called, args.calling, tls=_tls(args))


def _tls(args: argparse.Namespace) -> RemoteTls | None:
    from wetread.dimse.tls import RemoteTls, check_pin, client_context
    from wetread.errors import Misconfigured

    if not args.tls:
        if args.ca or args.pin or args.cert or args.key:
            raise Misconfigured("--ca, --pin, --cert and --key are for calls with TLS: say --tls too")
        return None
    if bool(args.cert) != bool(args.key):
        raise Misconfigured("--cert and --key go together: the one is no use without the other")
    try:
        check_pin(args.pin or "CN=any")
    except ValueError as exc:
        raise Misconfigured(f"--pin {args.pin!r}: {exc}") from exc
    tls = RemoteTls(args.ca, args.pin, args.cert, args.key)
    client_context(tls)  # says now what is wrong with a file
    return tls


def _show(reports: list[SendReport], files: Outgoing, args: argparse.Namespace) -> int:
    from wetread.cli.table import print_json

    refused = [r for r in reports if not r.accepted]
    answers = [(r.path, f"{r.answer} {r.comment}".rstrip()) for r in refused]
    broken = [(file.path, file.reason) for file in files.broken]
    skipped = [(file.path, file.reason) for file in files.skipped]
    if args.json:
        document = {
            "sent": len(reports) - len(refused),
            "failed": [{"file": str(path), "answer": answer} for path, answer in answers],
            "not_sent": [{"file": str(path), "reason": why} for path, why in broken],
            "skipped": [{"file": str(path), "reason": why} for path, why in skipped],
        }
        print_json(document)
        return 1 if refused or broken else 0
    if reports:
        print(f"{len(reports) - len(refused)} of {number_of(len(reports), 'instance')} taken by {args.called}")
    _print_files(answers, args.folder)
    if broken:
        print(f"{number_of(len(broken), 'file was', 'files were')} not sent:")
        _print_files(broken, args.folder)
    if skipped:
        print(f"{number_of(len(skipped), 'other file')} skipped:")
        _print_files(skipped, args.folder)
    return 1 if refused or broken else 0


def _print_files(files: list[tuple[Path, str]], folder: Path) -> None:
    for path, why in files[:_SHOWN]:
        print(f"  {path.relative_to(folder)}: {why}")
    if len(files) > _SHOWN:
        print(f"  and {len(files) - _SHOWN} more; all with --json")
