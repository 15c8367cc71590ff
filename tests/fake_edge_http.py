"""How ``fake_edge`` speaks HTTP: token, headers, problem documents, events, and answers that are lost on the way."""

from __future__ import annotations

import contextlib
import json
import socket
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from fake_edge import FakeEdge, FakeJob

TOKEN = "a-token-of-the-tests"  # noqa: S105 - opens nothing
Document = dict[str, Any]


class Refusal(Exception):
    """A problem document."""

    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.document = {
            "type": f"urn:wetread:problem:{code}",
            "title": code,
            "status": status,
            "detail": detail,
        } | more


class Handler(BaseHTTPRequestHandler):
    """Sends what the edge answers; breaks what it is told to break."""

    edge: FakeEdge

    def setup(self) -> None:
        super().setup()
        with self.edge.changed:
            self.edge._connections.append(self.connection)

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._do()

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _do(self) -> None:
        path = self.path.removeprefix("/api/v1")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.edge.calls.append((self.command, path))
        self.edge.readers.append(unquote(self.headers.get("Wetread-Reader", "")))
        try:
            self._allowed(path)
            if path.endswith("/events"):
                self._events(self.edge._job(path.split("/")[2]))
                return
            status, document = self.edge.answer(self.command, path, body, self.headers)
        except Refusal as refusal:
            self._send(refusal.status, refusal.document)
            return
        for lost in self.edge.break_after | self.edge.break_always:
            if self.command == lost[0] and path.endswith(lost[1]):
                self.edge.break_after.discard(lost)
                with_closed(self.connection)
                return
        self._send(status, document)

    def _allowed(self, path: str) -> None:
        fault = self.edge.answer_first(self.command, path)
        if fault is not None:
            raise Refusal(fault["status"], fault.get("code", "fault"), fault.get("detail", "a fault"))
        if path == "/health":
            return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, "token", "the token is not known here")

    def _send(self, status: int, document: Document | list[Any] | bytes) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self._standing()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _standing(self) -> None:
        self.send_header("Wetread-Api", self.edge.version)
        self.send_header("Wetread-Version", "0.1.0")

    def _events(self, job: FakeJob) -> None:
        self.send_response(200)
        self._standing()
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        last = int(self.headers.get("Last-Event-ID") or 0)
        told = min(last, max(len(job.progress) - 1, 0))  # the present state at once
        server = self.edge._server
        while self.edge._server is server:
            with self.edge.changed:
                fresh = job.progress[told:]
                if not fresh and not self.edge.changed.wait(10):
                    fresh = []
            for number, progress in enumerate(fresh, start=told + 1):
                event = f"event: progress\nid: {number}\ndata: {json.dumps(progress)}\n\n"
                try:
                    self.wfile.write(event.encode())
                except OSError:
                    return
                if progress["state"] in ("done", "rejected", "failed", "cancelled"):
                    return
            told += len(fresh)


def with_closed(connection: Any) -> None:
    """Cut it, whatever is on the way."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
