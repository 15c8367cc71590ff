"""The socket of an association, with limits: pynetdicom's own waits for ever for the second half of a PDU."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

from pynetdicom.transport import AssociationSocket

from wetread.dimse.tls import Certificate, certificate_of

_HEAD_BYTES = 6
_SLACK_BYTES = 1024  # some peers count the PDU's head, or the items' heads, as outside the maximum length
_LEAST_BYTES_PER_S = 256  # slower than any line that is still worth having


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much and how slowly a peer may send."""

    timeout_s: float
    """For one PDU, from its first to its last byte."""
    max_pdu_bytes: int
    max_message_bytes: int
    """For one message with its data set."""


@dataclass(slots=True)
class _Message:
    """What came of one message so far."""

    began: float
    bytes: int = 0

    def problem(self, timeout_s: float) -> str:
        """What is wrong with its pace, if anything."""
        seconds = time.monotonic() - self.began
        if seconds > timeout_s and self.bytes < seconds * _LEAST_BYTES_PER_S:
            return f"a message at less than {_LEAST_BYTES_PER_S} bytes per second"
        return ""


class LimitedSocket(AssociationSocket):
    """Reads whole PDUs in bounded time and memory; ``ahead`` was read from the connection before."""

    def __init__(self, assoc: Any, connection: socket.socket, ahead: bytes, limits: ReadLimits) -> None:
        super().__init__(assoc, client_socket=connection)
        self._ahead = ahead
        self._limits = limits
        self._deadline = 0.0
        self.problem = ""
        """Why we ended the connection, if we did."""
        self.encrypted = isinstance(connection, ssl.SSLSocket)
        self.certificate = _certificate_of(connection)
        self.next_message()
        connection.settimeout(limits.timeout_s)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def ready(self) -> bool:
        """Whether there is something to read."""
        return bool(self._ahead) or super().ready

    def next_message(self) -> None:
        """The message was answered, or the association accepted; what comes now belongs to the next message.

        Called by pynetdicom's thread, while another one may be reading: it finds either message, whole.
        """
        self._message: _Message | None = None

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly so many bytes, fewer only at the end of the stream; a head of 6 bytes begins a PDU.

        Raises: ``OSError`` when a limit is exceeded: pynetdicom takes it for a broken connection.
        """
        if nr_bytes == _HEAD_BYTES:
            self.begin_pdu()
        message = self._expected(nr_bytes)
        whole = bytearray(nr_bytes)
        size = self._fill(memoryview(whole))
        self._check_pace(message)
        return whole[:size] if size < nr_bytes else whole

    def begin_pdu(self) -> None:
        """The next byte is the first of a PDU, which has to be complete in time."""
        self._deadline = time.monotonic() + self._limits.timeout_s

    def expect(self, nr_bytes: int) -> None:
        """So many bytes come next. Raises: ``OSError`` when the PDU or its message is too large or too slow."""
        self._expected(nr_bytes)

    def check_deadline(self) -> None:
        """Raises: ``OSError`` when the PDU should have been complete by now."""
        if time.monotonic() > self._deadline:
            raise self._exceeded(f"a PDU was not complete after {self._limits.timeout_s:g} s")

    def _fill(self, view: memoryview) -> int:
        taken = self._ahead[: len(view)]
        self._ahead = self._ahead[len(taken) :]
        view[: len(taken)] = taken
        size = len(taken)
        while size < len(view):
            if self.socket is None:
                break
            try:
                part = self.socket.recv_into(view[size:])
            except TimeoutError:
                raise self._exceeded(f"silent for {self._limits.timeout_s:g} s in the middle of a PDU") from None
            if not part:
                break
            size += part
            self.check_deadline()
        return size

    def _exceeded(self, problem: str) -> OSError:
        self.problem = problem
        return OSError(problem)

    def _expected(self, nr_bytes: int) -> _Message:
        message = self._message
        if message is None:
            message = self._message = _Message(time.monotonic())
        self._check_size(nr_bytes, message)
        message.bytes += nr_bytes
        self._check_pace(message)
        return message

    def _check_size(self, nr_bytes: int, message: _Message) -> None:
        if nr_bytes > max(self._limits.max_pdu_bytes + _SLACK_BYTES, len(self._ahead)):
            raise self._exceeded(f"a PDU of {nr_bytes} bytes; {self._limits.max_pdu_bytes} were agreed")
        if message.bytes + nr_bytes > self._limits.max_message_bytes:
            raise self._exceeded(f"a message of more than {self._limits.max_message_bytes} bytes")

    def _check_pace(self, message: _Message) -> None:
        if problem := message.problem(self._limits.timeout_s):
            raise self._exceeded(problem)


def _certificate_of(connection: socket.socket) -> Certificate | None:
    if not isinstance(connection, ssl.SSLSocket):
        return None
    der = connection.getpeercert(binary_form=True)
    return certificate_of(der) if der else None
