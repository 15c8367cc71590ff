"""An edge of one's own where none is set: ``wetread serve --private`` on the loopback, the same interface and way.

It ends when its standard input ends, so with this process, however that ends.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from wetread_desktop.client.edge import Edge
from wetread_desktop.client.errors import Unreachable
from wetread_desktop.client.settings import DeskSettings

_STARTS_WITHIN_S = 60.0


class Connector:
    """From settings and token to an edge; starts the private one when the settings name none."""

    def __init__(self, url: str = "", *, command: tuple[str, ...] = ()) -> None:
        """``url``: another edge than the one that is set. ``command``: of the private edge, for tests."""
        self._url = url
        self._command = command
        self._guard = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._private = ("", "")

    def __call__(self, settings: DeskSettings, token: str) -> Edge:
        """Raises: ``EdgeError``; may take as long as a service needs to start."""
        url = self._url or settings.url
        if url:
            return Edge(replace(settings, url=url).address(token))
        with self._guard:
            own_url, own_token = self._running()
        return Edge(replace(settings, url=own_url).address(own_token))

    def close(self) -> None:
        """End the private edge, if there is one: what it was doing is found again at its next start."""
        with self._guard:
            process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _running(self) -> tuple[str, str]:
        if self._process is not None and self._process.poll() is None:
            return self._private
        command = self._command or _serve()
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        line = _first_line(process)
        try:
            said = json.loads(line)
            self._private = (str(said["url"]), Path(said["token_file"]).read_text(encoding="utf-8").strip())
        except (ValueError, KeyError, TypeError, OSError) as exc:
            process.kill()
            process.wait()
            raise Unreachable(
                "no edge is set, and none could be started on this machine; run “wetread serve --private” in a terminal"
                " to see why, or set the address of an edge"
            ) from exc
        self._process = process
        return self._private


def _serve() -> tuple[str, ...]:
    """The edge beside this program. Raises: ``Unreachable`` where it is not installed."""
    beside = Path(sys.executable).with_name("wetread")
    found = str(beside) if beside.is_file() else shutil.which("wetread")
    if found is None:
        raise Unreachable("no edge is set, and Wetread's own is not installed on this machine: set the address of one")
    return found, "serve", "--private"


def _first_line(process: subprocess.Popen[str]) -> str:
    """What it says when it is ready; '' when it ends or takes too long."""
    patience = threading.Timer(_STARTS_WITHIN_S, process.kill)
    patience.start()
    try:
        return process.stdout.readline() if process.stdout is not None else ""
    finally:
        patience.cancel()
