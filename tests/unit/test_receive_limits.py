"""Callers that are slow, lie, or come in crowds: they cost little, and others are served meanwhile."""

from __future__ import annotations

import gc
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from listening import CT1, Kept, Listen, listeners
from peers import echoscu, storescu
from phantoms import write_series
from slow_loris import associated, association_request, connect, ended, pdu, read_pdu
from waiting import until
from wetread.receive.admission import Sender
from wetread.records.notes import Refusal

ABORT, REJECT = 0x07, 0x03
BOTH = pytest.mark.parametrize("reader", ["blocking", "pynetdicom"])


@pytest.fixture
def listen() -> Iterator[Listen]:
    yield from listeners()


def refusals(kept: Kept) -> list[Refusal]:
    return [n for n in kept.notes if isinstance(n, Refusal)]


def test_connection_that_asks_for_nothing_is_closed_and_listed(listen: Listen) -> None:
    port, kept = listen(request_timeout_s=0.3)
    with connect(port) as silent:
        assert ended(silent)
    until(lambda: refusals(kept))
    assert refusals(kept)[0].reason == "no association request within 0.3 s"


def test_request_at_one_byte_a_time_is_cut_off(listen: Listen) -> None:
    port, kept = listen(request_timeout_s=0.5)
    with connect(port) as slow:
        tick = threading.Event()
        try:
            for byte in association_request():
                slow.sendall(bytes([byte]))
                tick.wait(0.1)
        except ConnectionError:
            pass
        assert ended(slow)
    until(lambda: refusals(kept))
    assert refusals(kept)[0].reason == "no association request within 0.5 s"


@BOTH
def test_half_a_pdu_ends_the_association_and_frees_its_place(listen: Listen, reader: str) -> None:
    port, _ = listen(reader=reader, network_timeout_s=0.5, max_associations=1)
    with associated(port) as half:
        half.sendall(pdu(0x04, b"\0" * 10, length=1000))
        assert ended(half)
    until(lambda: echoscu(port).returncode == 0, what="the place is free again")


@BOTH
@pytest.mark.parametrize("piece", [1, 100])
def test_pdu_in_small_pieces_is_cut_off(listen: Listen, reader: str, piece: int) -> None:
    """Not too slow for a message, but for a PDU."""
    port, _ = listen(reader=reader, network_timeout_s=0.5, max_associations=1)
    tick, body = threading.Event(), pdu(0x04, b"\0" * 100_000)
    with associated(port) as slow:
        sent = 0
        try:
            while sent < 40 * piece:
                slow.sendall(body[sent : sent + piece])
                sent += piece
                tick.wait(0.1)
        except ConnectionError:
            pass
        assert sent < 30 * piece
    until(lambda: echoscu(port).returncode == 0, what="the place is free again")


@BOTH
def test_message_in_many_tiny_pdus_without_end_is_cut_off(listen: Listen, reader: str) -> None:
    """Each PDU is whole and in time; only the message never ends."""
    port, _ = listen(reader=reader, network_timeout_s=0.5, max_associations=1)
    fragment = pdu(0x04, struct.pack(">LBB", 3, 1, 0x01) + b"\0")
    with associated(port) as slow:
        tick = threading.Event()
        sent = 0
        try:
            while sent < 100:
                slow.sendall(fragment)
                sent += 1
                tick.wait(0.1)
        except ConnectionError:
            pass
    assert sent < 30
    until(lambda: echoscu(port).returncode == 0, what="the place is free again")


def test_idle_association_is_aborted(listen: Listen) -> None:
    port, _ = listen(network_timeout_s=0.5, max_associations=1)
    with associated(port) as idle:
        assert read_pdu(idle)[0] == ABORT
    until(lambda: echoscu(port).returncode == 0, what="the place is free again")


@pytest.mark.parametrize("length", [2**20 + 1, 2**32 - 1])
def test_giant_length_of_a_request_is_not_believed(listen: Listen, length: int) -> None:
    port, kept = listen(request_timeout_s=20.0)
    with connect(port) as liar:
        liar.sendall(pdu(0x01, b"\0" * 100, length=length))
        assert ended(liar)
    until(lambda: refusals(kept))
    assert f"association request of {length} bytes" in refusals(kept)[0].reason


@BOTH
@pytest.mark.parametrize("length", [2**27, 2**32 - 1])
def test_giant_length_of_a_pdu_is_not_believed(listen: Listen, reader: str, length: int) -> None:
    port, _ = listen(reader=reader, network_timeout_s=20.0)
    before = _memory()
    with associated(port) as liar:
        liar.sendall(pdu(0x04, b"\0" * 100, length=length))
        assert ended(liar)
    assert _memory() - before < 20 * 2**20
    assert echoscu(port).returncode == 0


@BOTH
def test_instance_larger_than_the_limit_ends_its_association(listen: Listen, reader: str, tmp_path: Path) -> None:
    port, kept = listen(reader=reader, max_instance_mb=1)
    small = write_series(tmp_path / "small", shape=(2, 64, 64)).paths
    large = write_series(tmp_path / "large", shape=(2, 900, 900)).paths
    assert storescu(port, [*small, large[0], small[0]]).returncode != 0
    assert storescu(port, small * 200, options=["--no-halt"]).returncode == 0, "the limit is for one instance, not all"
    assert {len(i.dataset) > 2**20 for i in kept.instances} == {False}


def test_one_association_too_many_is_rejected_as_transient(listen: Listen) -> None:
    """PS3.8 9.3.4: result 2, source 3 (presentation related), reason 2 (local limit exceeded)."""
    port, kept = listen(max_associations=2)
    with associated(port) as first, associated(port), connect(port) as third:
        third.sendall(association_request())
        kind, body = read_pdu(third)
        assert (kind, tuple(body[1:4])) == (REJECT, (2, 3, 2))
        until(lambda: refusals(kept))
        assert "2 associations at one time are the limit" in refusals(kept)[0].reason
        first.sendall(pdu(0x05, b"\0" * 4))
        assert read_pdu(first)[0] == 0x06
        until(lambda: echoscu(port).returncode == 0, what="the place is free again")


def test_released_association_whose_peer_does_not_hang_up_holds_no_place(listen: Listen) -> None:
    port, _ = listen(max_associations=1, request_timeout_s=20.0)
    with associated(port) as released:
        released.sendall(pdu(0x05, b"\0" * 4))
        assert read_pdu(released)[0] == 0x06
        assert echoscu(port).returncode == 0


def test_crowd_of_silent_connections_keeps_nobody_out(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wetread.dimse.door.MAX_WAITING", 20)
    port, _ = listen(request_timeout_s=60.0)
    crowd: list[socket.socket] = []
    try:
        for _ in range(60):
            crowd.append(connect(port))
        assert echoscu(port).returncode == 0
        assert ended(crowd[0]), "who waits longest makes room"
    finally:
        for connection in crowd:
            connection.close()


def test_monitor_that_opens_and_closes_the_port_is_no_refusal(listen: Listen) -> None:
    port, kept = listen()
    for _ in range(3):
        connect(port).close()
    assert echoscu(port).returncode == 0
    assert kept.notes == []


def test_memory_and_threads_are_flat_under_bad_callers(listen: Listen) -> None:
    port, _ = listen(request_timeout_s=2.0, network_timeout_s=2.0)

    def round_of_bad_callers() -> None:
        connections = [connect(port) for _ in range(10)]
        for number, connection in enumerate(connections):
            connection.sendall(association_request()[: 7 * number])
        connections += [associated(port) for _ in range(5)]
        for connection in connections[10:]:
            connection.sendall(pdu(0x04, b"\0" * 10, length=100_000))
        for connection in connections:
            assert ended(connection)
            connection.close()

    round_of_bad_callers()
    until(lambda: _connections() == 0)
    before, threads = _memory(), threading.active_count()
    for _ in range(3):
        round_of_bad_callers()
    until(lambda: _connections() == 0)
    assert threading.active_count() <= threads
    assert _memory() - before < 10 * 2**20
    assert echoscu(port).returncode == 0


def test_garbage_request_is_listed(listen: Listen) -> None:
    port, kept = listen(request_timeout_s=0.5)
    with connect(port) as caller:
        caller.sendall(pdu(0x01, b"\xff" * 200))
        assert ended(caller)
    until(lambda: refusals(kept))
    assert refusals(kept)[0].reason == "its association request cannot be read"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", "spoke HTTP to the DICOM port"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "spoke something else than DICOM (first bytes 53 53 48 2d 32 2e)"),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1", "called the port without TLS with TLS"),
    ],
)
def test_other_protocols_are_named(listen: Listen, said: bytes, reason: str) -> None:
    port, kept = listen()
    with connect(port) as stranger:
        stranger.sendall(said)
        assert ended(stranger)
    until(lambda: refusals(kept))
    assert (refusals(kept)[0].reason, refusals(kept)[0].address) == (reason, "127.0.0.1")


def test_senders_that_share_a_title_are_told_apart_by_their_networks(listen: Listen, tmp_path: Path) -> None:
    everybody = Sender("anywhere", "CT1", ("127.0.0.0/8",))
    port, kept = listen(senders=(everybody, CT1))
    assert storescu(port, write_series(tmp_path / "study", shape=(2, 16, 16)).paths).returncode == 0
    assert {i.provenance.peer for i in kept.instances} == {"ct1"}


def _memory() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _connections() -> int:
    return sum("process_request_thread" in t.name for t in threading.enumerate())
