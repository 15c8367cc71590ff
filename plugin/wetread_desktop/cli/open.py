"""``wetread-desk open``: what a button in another viewer calls. Hands over to the window and ends at once."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wetread_desktop.client.opened import OpenRequest
    from wetread_desktop.client.settings import SettingsFolder

HELP = "open a study in the window, from another viewer's button or the command line"
_STARTS_WITHIN_S = 12.0
"""Weasis waits 15 s for a program it starts."""


class CannotHandOver(Exception):
    """The window does not run and could not be started, or did not take the request."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("url", nargs="?", default="", help="wetread://open?v=1&studyUID=…, in place of the options")
    parser.add_argument("--study-uid", default="", metavar="UID", help="Study Instance UID, of a study the edge has")
    parser.add_argument("--series-uid", default="", metavar="UID", help="show this series first")
    parser.add_argument("--accession", default="", metavar="NUMBER", help="the study with this accession number")
    parser.add_argument("--folder", default="", metavar="PATH", help="a folder, zip or file with the images")
    parser.add_argument("--edge", default="", metavar="URL", help="another edge than the one that is set")
    parser.add_argument("--stay", action="store_true", help="run the window here instead of handing over")


def run(args: argparse.Namespace) -> int:
    """Exit codes: 0 handed over, 1 the edge, the study or the window is not there, 2 wrong usage or settings."""
    from wetread_desktop.client.opened import OpenInvalid, request_of_url
    from wetread_desktop.client.settings import SettingsFolder

    profile = SettingsFolder(args.profile)
    try:
        request = request_of_url(args.url) if args.url else _asked(args)
    except OpenInvalid as exc:
        print(f"wetread-desk: {exc}", file=sys.stderr)
        return 2
    request = _checked(profile, request, args.edge)
    if args.stay:
        from wetread_desktop.hosts.window.application import run_window

        return run_window(profile, request, edge=args.edge)
    try:
        _hand_over(profile.folder, request, args)
    except CannotHandOver as exc:
        print(f"wetread-desk: {exc}", file=sys.stderr)
        return 1
    return 0


def _asked(args: argparse.Namespace) -> OpenRequest:
    from wetread_desktop.client.opened import OpenInvalid, OpenRequest

    folder = str(Path(args.folder).absolute()) if args.folder else ""
    if folder and not Path(folder).exists():
        raise OpenInvalid(f"{folder}: there is no such file or folder")
    return OpenRequest(args.study_uid, args.series_uid, args.accession, folder)


def _checked(profile: SettingsFolder, request: OpenRequest, edge_url: str) -> OpenRequest:
    """Ask the edge for the study before anything opens, so that the launcher can say what is wrong.

    Returns: the request with the Study UID of an accession number. Raises: ``EdgeError``, ``SettingsInvalid``.
    """
    from dataclasses import replace

    from wetread_desktop.client.edge import Edge
    from wetread_desktop.client.errors import problem
    from wetread_desktop.client.settings import SettingsInvalid

    if request.folder or request.is_empty:
        return request
    settings = profile.load()
    if edge_url:
        settings = replace(settings, url=edge_url)
    if not settings.url:
        raise SettingsInvalid(f"no edge is set in {profile.folder}, so only folders can be opened")
    edge = Edge(settings.address(profile.token()), timeout_s=5.0)
    if request.study_uid:
        edge.study(request.study_uid)
        return request
    found = {line.study_instance_uid for line in edge.studies(accession_number=request.accession, limit=2)}
    if len(found) != 1:
        had = len(found) or "no"
        raise problem(404, {"detail": f"the edge has {had} studies with accession number {request.accession}"})
    return replace(request, study_uid=found.pop())


def _hand_over(profile: Path, request: OpenRequest, args: argparse.Namespace) -> None:
    """To the window that runs, or to one that is started now. Raises: ``CannotHandOver``."""
    from qtpy.QtCore import QCoreApplication

    from wetread_desktop.hosts.window.single import hand_over

    _qt = QCoreApplication.instance() or QCoreApplication(sys.argv[:1])
    problem = hand_over(profile, request, edge=args.edge)
    if problem is None:
        window = _start_window(profile, args.edge)
        until = time.monotonic() + _STARTS_WITHIN_S
        while problem is None:
            if window.poll() is not None:
                raise CannotHandOver(_why_it_ended(window.returncode))
            if time.monotonic() > until:
                raise CannotHandOver(f"the window did not open within {_STARTS_WITHIN_S:.0f} s")
            problem = hand_over(profile, request, edge=args.edge, timeout_ms=200)
            if problem is None:
                time.sleep(0.05)
    if problem:
        raise CannotHandOver(problem)


def _why_it_ended(code: int) -> str:
    needs_display = sys.platform.startswith("linux") and not os.environ.get("QT_QPA_PLATFORM")
    if needs_display and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display to open a window on: neither DISPLAY nor WAYLAND_DISPLAY is set"
    return f"the window ended at once with exit code {code}; try --stay"


def _start_window(profile: Path, edge: str) -> subprocess.Popen[bytes]:
    """A process of its own, with nobody's pipes: the launcher reads ours to their end."""
    command = [sys.executable, "-m", "wetread_desktop", "open", "--profile", str(profile), "--stay"]
    command += ["--edge", edge] if edge else []
    null = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True, close_fds=True)
