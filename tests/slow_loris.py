"""Callers that behave badly, with bare sockets."""

from __future__ import annotations

import socket
import ssl
import struct

from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context

from peers import HOST

VERIFICATION = "1.2.840.10008.1.1"


def connect(port: int) -> socket.socket:
    """A TCP connection with a deadline, so that a test fails instead of hanging."""
    return socket.create_connection((HOST, port), timeout=30.0)


def association_request(*, calling: str = "CT1", called: str = "WETREAD", sop_class: str = VERIFICATION) -> bytes:
    """An A-ASSOCIATE-RQ PDU (PS3.8 9.3.2)."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title = calling
    primitive.called_ae_title = called
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = "1.2.826.0.1.3680043.8.498.1"
    primitive.user_information = [length, implementation]
    context = build_context(sop_class, "1.2.840.10008.1.2.1")
    context.context_id = 1
    primitive.presentation_context_definition_list = [context]
    return A_ASSOCIATE_RQ(primitive).encode()


def pdu(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    """A PDU whose length may lie."""
    return struct.pack(">BBL", kind, 0, len(body) if length is None else length) + body


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Type and body of the next PDU; type 0 when the peer ended the connection."""
    head = _exactly(connection, 6)
    if not head:
        return 0, b""
    kind, _, length = struct.unpack(">BBL", head)
    return kind, _exactly(connection, length)


def associated(port: int, **request: str) -> socket.socket:
    """A connection whose association was accepted."""
    connection = connect(port)
    connection.sendall(association_request(**request))
    assert read_pdu(connection)[0] == 0x02
    return connection


def ended(connection: socket.socket) -> bool:
    """Whether the peer ends the connection, at once or after saying something, before the socket's own timeout."""
    try:
        while connection.recv(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    return True


def _exactly(connection: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        try:
            part = connection.recv(size - len(read))
        except ConnectionError:
            return b""
        if not part:
            return b""
        read += part
    return read
