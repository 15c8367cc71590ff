"""The limits of a connection while pynetdicom's other thread says where a message ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Queue
from types import SimpleNamespace

import pytest

from wetread.dimse.connection import LimitedSocket, ReadLimits

LIMITS = ReadLimits(timeout_s=5.0, max_pdu_bytes=100, max_message_bytes=20)


@dataclass
class Ends:
    ours: LimitedSocket
    theirs: socket.socket


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    association = SimpleNamespace(dul=SimpleNamespace(event_queue=Queue()))
    with theirs:
        yield Ends(LimitedSocket(association, ours, b"", LIMITS), theirs)
        ours.close()


def read_pdu(ends: Ends, *, size: int = 18) -> int:
    """Head and body of a PDU of ``size`` bytes; how many came."""
    return len(ends.ours.recv(6)) + len(ends.ours.recv(size - 6))


def test_message_that_ends_while_the_next_one_is_read_is_no_slow_one(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the other thread is late: the peer sends on as soon as it has the answer."""
    fill = LimitedSocket._fill

    def late(self: LimitedSocket, view: memoryview) -> int:
        size = fill(self, view)
        self.next_message()
        return size

    monkeypatch.setattr(LimitedSocket, "_fill", late)
    ends.theirs.sendall(b"abcdef")
    assert ends.ours.recv(6) == b"abcdef"
    assert ends.ours.problem == ""


def test_bytes_of_the_message_before_do_not_count(ends: Ends) -> None:
    ends.theirs.sendall(bytes(36))
    read_pdu(ends)
    ends.ours.next_message()
    assert read_pdu(ends) == 18


def test_message_of_too_many_bytes_is_refused(ends: Ends) -> None:
    ends.theirs.sendall(bytes(36))
    read_pdu(ends)
    with pytest.raises(OSError, match="a message of more than 20 bytes"):
        read_pdu(ends)


def test_message_at_less_than_256_bytes_a_second_is_refused(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    ends.theirs.sendall(bytes(18))
    now = [100.0]
    monkeypatch.setattr("wetread.dimse.connection.time.monotonic", lambda: now[0])
    read_pdu(ends, size=6)
    now[0] += 5.5
    with pytest.raises(OSError, match="less than 256 bytes per second"):
        read_pdu(ends, size=12)
