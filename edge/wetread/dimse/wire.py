"""Reading the socket of an association in waits of bounded length, in as few system calls as its kind allows."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct

WAIT_S = 0.05
"""How long a local abort or the idle time-out may wait for us."""


class Wire:
    """A TLS connection: Python's own time-outs, a poll before each call."""

    def __init__(self, connection: socket.socket, timeout_s: float | None) -> None:
        self._socket, self._timeout_s = connection, timeout_s
        connection.settimeout(WAIT_S)

    def receive_into(self, view: memoryview) -> int:
        """How many bytes came; 0 at the end of the stream. Raises: ``OSError``, of it ``TimeoutError``."""
        return self._socket.recv_into(view)

    def send(self, data: bytes) -> None:
        """All of it. Raises: ``OSError``."""
        self._socket.settimeout(self._timeout_s)
        self._socket.sendall(data)
        self._socket.settimeout(WAIT_S)

    def close(self) -> None:
        """Leave the socket as pynetdicom wants it."""
        self._socket.settimeout(self._timeout_s)


class _PlainWire(Wire):
    """A connection without TLS: the system's time-outs (socket(7)), and one call until everything is there."""

    def __init__(self, connection: socket.socket, timeout_s: float | None) -> None:
        super().__init__(connection, timeout_s)
        connection.settimeout(None)
        self._set(socket.SO_RCVTIMEO, WAIT_S)
        self._set(socket.SO_SNDTIMEO, timeout_s or 0.0)

    def receive_into(self, view: memoryview) -> int:
        """As above; what has come after ``WAIT_S`` is returned. Raises: ``OSError``, of it ``BlockingIOError``."""
        return self._socket.recv_into(view, 0, socket.MSG_WAITALL)

    def send(self, data: bytes) -> None:
        """All of it. Raises: ``OSError``."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Leave the socket as pynetdicom wants it."""
        with contextlib.suppress(OSError):  # closed already
            self._set(socket.SO_RCVTIMEO, 0.0)
            self._set(socket.SO_SNDTIMEO, 0.0)
        super().close()

    def _set(self, option: int, seconds: float) -> None:
        whole = int(seconds)
        self._socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", whole, int((seconds - whole) * 1e6)))


def wire_of(connection: socket.socket, timeout_s: float | None) -> Wire:
    """What fits the socket."""
    return (Wire if isinstance(connection, ssl.SSLSocket) else _PlainWire)(connection, timeout_s)
