"""One window for each person, profile and edge: a second start hands its request over and ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject
from qtpy.QtNetwork import QLocalServer, QLocalSocket

from wetread_desktop.client.opened import OpenInvalid, OpenRequest, request_of_line

_LONGEST_LINE = 64 * 1024


def pipe_name(profile: Path, edge: str = "") -> str:
    """Of the pipe to the window that runs with these settings, and with another edge than theirs if one is given."""
    return "wetread-desk-" + hashlib.sha256(f"{profile.resolve()}\n{edge}".encode()).hexdigest()[:20]


def hand_over(profile: Path, request: OpenRequest, *, edge: str = "", timeout_ms: int = 3000) -> str | None:
    """Give the request to the window that runs.

    Returns: None when there is no window; '' when it took the request; else why it did not, as a sentence.
    """
    socket = QLocalSocket()
    socket.connectToServer(pipe_name(profile, edge))
    if not socket.waitForConnected(timeout_ms):
        return None
    socket.write(request.line())
    socket.waitForBytesWritten(timeout_ms)
    while not socket.canReadLine():
        if not socket.waitForReadyRead(timeout_ms):
            return "the window that runs does not answer"
    answer = json.loads(bytes(socket.readLine().data()))
    return str(answer["problem"])


class Instance(QObject):
    """Listens for the requests of later starts."""

    def __init__(
        self, profile: Path, take: Callable[[OpenRequest], str], parent: QObject | None = None, *, edge: str = ""
    ) -> None:
        """``take``: opens it, on the GUI thread; returns '' or why not."""
        super().__init__(parent)
        self._take = take
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._connected)
        name = pipe_name(profile, edge)
        if not _somebody_answers(name):  # asked first: on Unix listening would take the pipe away from whoever has it
            QLocalServer.removeServer(name)  # left by one that was killed
            self._server.listen(name)

    @property
    def listens(self) -> bool:
        """Whether later starts find us."""
        return self._server.isListening()

    def close(self) -> None:
        """Later starts open a window of their own."""
        self._server.close()

    def _connected(self) -> None:
        while (socket := self._server.nextPendingConnection()) is not None:
            socket.readyRead.connect(lambda socket=socket: self._read(socket))
            socket.disconnected.connect(socket.deleteLater)
            self._read(socket)

    def _read(self, socket: QLocalSocket) -> None:
        if socket.bytesAvailable() > _LONGEST_LINE:
            socket.abort()
            return
        if not socket.canReadLine():
            return
        try:
            problem = self._take(request_of_line(bytes(socket.readLine().data())))
        except OpenInvalid as exc:
            problem = str(exc)
        socket.write(json.dumps({"problem": problem}).encode() + b"\n")
        socket.flush()
        socket.disconnectFromServer()


def _somebody_answers(name: str) -> bool:
    """Whether a window listens there: of two that start at once the second leaves the pipe to the first."""
    socket = QLocalSocket()
    socket.connectToServer(name)
    answers = socket.waitForConnected(1000)
    socket.abort()
    return answers
