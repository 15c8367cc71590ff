"""C-STORE command sets by hand: what is ordinary is read as pynetdicom writes it, everything else is left alone."""

from __future__ import annotations

import pytest
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from raw_peer import echo_command, store_command
from wetread.dimse.command import StoreRequest, read_store_request


def test_request_as_pynetdicom_writes_it_is_read() -> None:
    primitive = C_STORE()
    primitive.MessageID = 77
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    primitive.Priority = 0
    primitive.MoveOriginatorApplicationEntityTitle, primitive.MoveOriginatorMessageID = "PACS", 5
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    message.command_set.CommandDataSetType = 1
    command = encode(message.command_set, True, True)
    assert command is not None
    assert read_store_request(command) == StoreRequest(77, "1.2.840.10008.5.1.4.1.1.2", "1.2.3")


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"\xff" * 40,
        echo_command(),
        store_command("1.2", "1.3")[:-1],
        store_command("1.2", "1.3") + b"\x00",
        store_command("1.2", "1.3", Priority=None),
        store_command("1.2", "1.3", Priority=3),
        store_command("1.2", "1.3", CommandDataSetType=None),
        store_command("1.2", "1.3", CommandDataSetType=0x0101),
        store_command("1.2", "1.3", AffectedSOPInstanceUID=None),
    ],
)
def test_what_is_not_ordinary_is_left_to_pynetdicom(command: bytes) -> None:
    assert read_store_request(command) is None
