"""A peer whose every byte the test chooses: PDUs by hand (PS3.8 9.3), command sets by pydicom."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from io import BytesIO

from pydicom import Dataset
from pynetdicom.dsutils import decode, encode

from peers import HOST

COMMAND, LAST = 0x01, 0x02
ACCEPTED, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 0x02, 0x04, 0x05, 0x06, 0x07
VERIFICATION = "1.2.840.10008.1.1"


def pdu(kind: int, body: bytes, *, length: int | None = None) -> bytes:
    """A PDU; ``length`` is what it says, if that is a lie."""
    return struct.pack(">BxL", kind, len(body) if length is None else length) + body


def pdv(control: int, data: bytes, *, context_id: int = 1, length: int | None = None) -> bytes:
    """A PDV item; ``length`` is what it says, if that is a lie."""
    return struct.pack(">LBB", len(data) + 2 if length is None else length, context_id, control) + data


def command(**elements: object) -> bytes:
    """A command set with its group length."""
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    body = encode(ds, True, True)
    assert body is not None
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def store_command(sop_class_uid: str, sop_instance_uid: str, *, message_id: int = 7, **others: object) -> bytes:
    """C-STORE-RQ (PS3.7 9.3.1.1); ``others`` replaces elements, ``None`` leaves one out."""
    elements = {
        "AffectedSOPClassUID": sop_class_uid,
        "CommandField": 0x0001,
        "MessageID": message_id,
        "Priority": 0x0000,
        "CommandDataSetType": 0x0001,
        "AffectedSOPInstanceUID": sop_instance_uid,
        **others,
    }
    return command(**{keyword: value for keyword, value in elements.items() if value is not None})


def echo_command() -> bytes:
    """C-ECHO-RQ (PS3.7 9.3.5.1)."""
    return command(AffectedSOPClassUID=VERIFICATION, CommandField=0x0030, MessageID=9, CommandDataSetType=0x0101)


class RawPeer:
    """A socket with an association: context 1 for ``sop_class_uid``, context 3 for Verification."""

    def __init__(self, port: int, sop_class_uid: str, transfer_syntax_uid: str) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        contexts = _context(1, sop_class_uid, transfer_syntax_uid) + _context(3, VERIFICATION, "1.2.840.10008.1.2")
        user = _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3.4")
        names = b"WETREAD".ljust(16) + b"CT1".ljust(16) + bytes(32)
        body = struct.pack(">HH", 1, 0) + names + _item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + _item(0x50, user)
        self.send(pdu(0x01, body))
        answer = self.receive()
        assert answer is not None
        assert answer[0] == ACCEPTED

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Each part is one write."""
        for part in parts:
            self.socket.sendall(part)

    def receive(self) -> tuple[int, bytes] | None:
        """PDU type and body, or None when the connection ended. Raises: ``TimeoutError`` after 10 s of silence."""
        try:
            header = self._exactly(6)
            kind, length = struct.unpack(">BxL", header)
            return kind, self._exactly(length)
        except ConnectionError:
            return None

    def outcome(self) -> str:
        """The next answer in a word: a status in hexadecimal, ``echo``, ``released`` or ``ended``."""
        answer = self.receive()
        if answer is None or answer[0] == ABORT:
            return "ended"
        if answer[0] == RELEASE_RP:
            return "released"
        assert answer[0] == P_DATA
        ds = self.command_set(answer[1])
        return "echo" if ds.CommandField == 0x8030 else f"{ds.Status:04X}"

    @staticmethod
    def command_set(body: bytes) -> Dataset:
        """The command set in a P-DATA-TF of one PDV."""
        return decode(BytesIO(body[6:]), True, True)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionResetError
            data += part
        return data


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body


def _context(context_id: int, abstract: str, transfer: str) -> bytes:
    return _item(0x20, bytes((context_id, 0, 0, 0)) + _item(0x30, abstract.encode()) + _item(0x40, transfer.encode()))


def split(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cut at these sizes; what is left is the last piece."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]
