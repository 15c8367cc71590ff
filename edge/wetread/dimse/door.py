"""Before an association: what a connection must bring, and how soon, to be worth a state machine.

A connection that says nothing, one byte at a time, or something else than DICOM costs one sleeping thread for a few
seconds, and nothing else: pynetdicom sees only whole A-ASSOCIATE-RQ PDUs (PS3.8 9.3.2).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wetread.dimse.tls import explained

MAX_REQUEST_BYTES = 2**20
"""128 presentation contexts with every transfer syntax there is are a third of that."""

MAX_WAITING = 200
"""Connections that have not asked for an association yet. One more, and the one that waits longest is closed: an honest
caller asks at once, so it is never the one."""

_ASSOCIATE_RQ = 0x01
_TLS_HANDSHAKE = 0x16
_HEAD_BYTES = 6  # PDU type, reserved, length (PS3.8 Table 9-11)


class TurnedAway(Exception):
    """What came is no request for an association: a sentence for the administrator."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


class WentAway(Exception):
    """The connection was opened and closed again without a word, as monitors of ports do."""


@dataclass(slots=True)
class Visitor:
    """A connection that has not asked for an association yet."""

    connection: socket.socket
    evicted: bool = False


class Waiting:
    """All visitors, in the order they came."""

    def __init__(self) -> None:
        self._visitors: dict[int, Visitor] = {}
        self._lock = threading.Lock()

    @contextmanager
    def visit(self, connection: socket.socket) -> Iterator[Visitor]:
        """Count this connection while it waits; it may be closed meanwhile."""
        visitor = Visitor(connection)
        with self._lock:
            self._visitors[id(visitor)] = visitor
            if len(self._visitors) > MAX_WAITING:
                self._evict(next(iter(self._visitors)))
        try:
            yield visitor
        finally:
            with self._lock:
                self._visitors.pop(id(visitor), None)

    def dismiss(self) -> None:
        """Close all of them; at the end."""
        with self._lock:
            for key in tuple(self._visitors):
                self._evict(key)

    def _evict(self, key: int) -> None:
        visitor = self._visitors.pop(key)
        visitor.evicted = True
        _wake(visitor.connection)


def open_door(visitor: Visitor, tls: ssl.SSLContext | None, timeout_s: float) -> bytes:
    """The caller's A-ASSOCIATE-RQ PDU; after a handshake, ``visitor.connection`` is the encrypted one.

    Raises: ``TurnedAway``, ``WentAway``.
    """
    deadline = time.monotonic() + timeout_s
    try:
        visitor.connection.settimeout(timeout_s)
        _check_first_byte(visitor.connection, encrypted=tls is not None)
        if tls is not None:
            _shake_hands(visitor, tls, deadline)
        return _request(visitor.connection, deadline)
    except TimeoutError as exc:
        raise TurnedAway(f"no association request within {timeout_s:g} s") from exc
    except (OSError, EOFError) as exc:
        if visitor.evicted:
            raise TurnedAway(f"one of more than {MAX_WAITING} connections that asked for nothing") from exc
        raise WentAway from exc


def hang_up(connection: socket.socket) -> None:
    """End a connection, in the thread that reads from it; pynetdicom leaves some open."""
    _wake(connection)
    connection.close()


def _wake(connection: socket.socket) -> None:
    """End the stream: a thread that waits for bytes goes on."""
    with contextlib.suppress(OSError):  # it has ended already
        connection.shutdown(socket.SHUT_RDWR)


def _check_first_byte(connection: socket.socket, *, encrypted: bool) -> None:
    first = connection.recv(1, socket.MSG_PEEK)
    if not first:
        raise EOFError
    if encrypted and first[0] == _ASSOCIATE_RQ:
        raise TurnedAway(
            "called the TLS port without TLS", "switch TLS on at the sender, or let it call the other port"
        )
    if not encrypted and first[0] == _TLS_HANDSHAKE:
        raise TurnedAway("called the port without TLS with TLS", "let the sender call the port of [listener.tls]")


def _shake_hands(visitor: Visitor, tls: ssl.SSLContext, deadline: float) -> None:
    plain = visitor.connection
    visitor.connection = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
    visitor.connection.settimeout(_left(deadline))
    try:
        visitor.connection.do_handshake()
    except ssl.SSLEOFError as exc:
        raise TurnedAway(
            "broke off the TLS handshake", "it may not believe our certificate, or know no suite of ours"
        ) from exc
    except ssl.SSLError as exc:
        raise TurnedAway(f"TLS handshake failed: {explained(exc)}", _advice(exc)) from exc


def _advice(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "give the sender a certificate of an authority in client_ca, or set client_certificate"
    if reason == "CERTIFICATE_VERIFY_FAILED":
        return "its certificate must be valid and signed by an authority in [listener.tls] client_ca"
    if "ALERT" in reason and ("CA" in reason or "CERTIFICATE" in reason):
        return "the sender does not believe our certificate: give it the authority that signed it"
    if "VERSION" in reason or "CIPHER" in reason or "PROTOCOL" in reason:
        return "the sender must speak TLS 1.2 or 1.3 with a suite of BCP 195"
    return ""


def _request(connection: socket.socket, deadline: float) -> bytes:
    head = _read(connection, _HEAD_BYTES, deadline)
    if head[0] != _ASSOCIATE_RQ:
        raise TurnedAway(_stranger(head))
    length = int.from_bytes(head[2:], "big")
    if length > MAX_REQUEST_BYTES:
        raise TurnedAway(
            f"announced an association request of {length} bytes; no honest one exceeds {MAX_REQUEST_BYTES}"
        )
    return head + _read(connection, length, deadline)


def _stranger(head: bytes) -> str:
    if head.startswith((b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTION", b"PRI * ")):
        return "spoke HTTP to the DICOM port"
    return f"spoke something else than DICOM (first bytes {head.hex(' ')})"


def _read(connection: socket.socket, size: int, deadline: float) -> bytes:
    read = bytearray()
    while len(read) < size:
        connection.settimeout(_left(deadline))
        part = connection.recv(size - len(read))
        if not part:
            raise TurnedAway("broke off in the middle of an association request") if read else EOFError
        read += part
    return bytes(read)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
