"""Whatever bytes arrive: the listener does not die, does not leak, and what it acknowledged is shown.

The bytes come from a real conversation of DCMTK's storescu, recorded once, and changed: bits, lengths, order, parts.
Two kinds in turn: anything of the conversation, or only the data set, with the PDUs round it in order. ``make soak``
sends 100,000.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peers import HOST, WetreadProcess, storescu
from phantoms import write_series
from waiting import until

pytestmark = pytest.mark.peer

CONVERSATIONS = int(os.environ.get("FUZZ_CONVERSATIONS", "250"))
AT_ONCE = 4
GROWTH_MB = 20.0
_P_DATA, _RELEASE_RQ = 0x04, 0x05
_STORE_RSP_STATUS = struct.Struct("<HHL")
_NASTY = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xfe\xff\x00\xe0")
Start = Callable[..., WetreadProcess]
Conversation = list[bytes]


def record_conversation(port: int, files: list[Path]) -> Conversation:
    """What storescu sends, PDU by PDU, taken down by a relay between it and the listener."""
    said = bytearray()
    with socket.create_server((HOST, 0)) as relay:

        def pass_on() -> None:
            client, _ = relay.accept()
            with client, socket.create_connection((HOST, port)) as server:
                answers = threading.Thread(target=_pump, args=(server, client, bytearray()), daemon=True)
                answers.start()
                _pump(client, server, said)
                answers.join(timeout=5)

        thread = threading.Thread(target=pass_on, daemon=True)
        thread.start()
        assert storescu(int(relay.getsockname()[1]), files).returncode == 0
        thread.join(timeout=10)
    return split_pdus(bytes(said))


def _pump(source: socket.socket, target: socket.socket, copy: bytearray) -> None:
    while data := source.recv(65536):
        copy += data
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


def split_pdus(body: bytes) -> Conversation:
    """PS3.8 9.3.1: type, reserved, length (4 bytes, big endian), then as many bytes."""
    pdus, at = [], 0
    while at + 6 <= len(body):
        length = int.from_bytes(body[at + 2 : at + 6], "big")
        pdus.append(body[at : at + 6 + length])
        at += 6 + length
    return pdus


def _changed_bytes(body: bytes, chance: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(chance.choice((1, 1, 2, 8, 40))):
        if not changed:
            break
        at = chance.randrange(len(changed))
        what = chance.randrange(5)
        if what == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            changed[at : at + 4] = chance.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xfe\xff\x00\xe0")
            )
        elif what == 2:
            del changed[at : at + chance.randrange(1, 64)]
        elif what == 3:
            changed[at:at] = chance.randbytes(chance.randrange(1, 64))
        else:
            start = chance.randrange(len(changed))
            changed[at:at] = changed[start : start + chance.randrange(1, 64)]
    return bytes(changed)


def _of_anything(conversation: Conversation, chance: random.Random) -> bytes:
    """Any PDU changed, left out, doubled, exchanged or cut."""
    pdus = list(conversation)
    at = chance.randrange(len(pdus))
    what = chance.randrange(5)
    if what == 0:
        pdus[at] = _changed_bytes(pdus[at], chance)
    elif what == 1:
        del pdus[at]
    elif what == 2:
        pdus.insert(chance.randrange(len(pdus)), pdus[at])
    elif what == 3:
        other = chance.randrange(len(pdus))
        pdus[at], pdus[other] = pdus[other], pdus[at]
    body = b"".join(pdus)
    return body[: chance.randrange(len(body))] if what == 4 else body


def _of_the_data_set(conversation: Conversation, chance: random.Random) -> bytes:
    """The data set changed; PDU and PDV lengths say the truth about it (PS3.8 9.3.5)."""
    pdus = list(conversation)
    data_sets = [i for i, p in enumerate(pdus) if p[0] == _P_DATA and not p[11] & 0x01]
    at = chance.choice(data_sets)
    value = _changed_bytes(pdus[at][12:], chance)
    item = struct.pack(">L", len(value) + 2) + pdus[at][10:12] + value
    pdus[at] = pdus[at][:2] + struct.pack(">L", len(item)) + item
    return b"".join(pdus)


def _say(port: int, body: bytes) -> int:
    """Ask for an association, say the rest once there was an answer, then listen until the listener closes.

    Returns: how many C-STORE answers were Success.
    """
    first = 6 + int.from_bytes(body[2:6], "big") if len(body) >= 6 else len(body)
    heard = bytearray()
    with socket.create_connection((HOST, port), timeout=30) as connection:
        try:
            connection.sendall(body[:first])
            if len(body) > first:
                heard += connection.recv(65536)
                connection.sendall(body[first:])
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                heard += data
        except TimeoutError:
            raise
        except OSError:
            pass  # an abort while we were speaking is an answer, too
    return sum(_is_success(pdu) for pdu in split_pdus(bytes(heard)))


def _is_success(pdu: bytes) -> bool:
    """A C-STORE-RSP (0000,0100) = 8001H with Status (0000,0900) = 0, PS3.7 9.3.1.2."""
    command = pdu[12:]
    is_answer = b"\0\0\0\x01\x02\0\0\0\x01\x80" in command
    return pdu[0] == _P_DATA and is_answer and b"\0\0\0\x09\x02\0\0\0\0\0" in command


def _converse(port: int, conversation: Conversation, numbers: Iterable[int]) -> Counter[str]:
    """By kind of change, how many instances were acknowledged; a conversation is the same whoever comes beside it."""

    def say(number: int) -> tuple[str, int]:
        change = _of_the_data_set if number % 2 else _of_anything
        return change.__name__, _say(port, change(conversation, random.Random(number)))

    acknowledged = Counter[str]()
    with ThreadPoolExecutor(AT_ONCE) as callers:
        for kind, count in callers.map(say, numbers):
            acknowledged[kind] += count
    return acknowledged


def _listeners(service: WetreadProcess) -> dict[int, float]:
    """The children of the service that hold the port, with their resident memory in MiB."""
    assert service.process is not None
    found = {}
    for children in Path(f"/proc/{service.process.pid}/task").glob("*/children"):
        for pid in map(int, children.read_text().split()):
            status = Path(f"/proc/{pid}/status").read_text()
            found[pid] = float(status.partition("VmRSS:")[2].split()[0]) / 1024
    return found


def test_listener_outlives_whatever_is_sent_and_shows_what_it_acknowledged(wetread: Start, tmp_path: Path) -> None:
    service = wetread(mode="off")
    files = list(write_series(tmp_path / "study", shape=(2, 16, 16)).paths)
    conversation = record_conversation(service.port, files)
    assert [p[0] for p in conversation].count(_RELEASE_RQ) == 1
    warm_up = CONVERSATIONS // 5
    acknowledged = _converse(service.port, conversation, range(warm_up))
    before = _listeners(service)
    acknowledged += _converse(service.port, conversation, range(warm_up, CONVERSATIONS))
    after = _listeners(service)
    assert set(before) <= set(after), "a process of the service died"
    grown = {pid: after[pid] - before[pid] for pid in before}
    assert max(grown.values()) < GROWTH_MB, f"memory grew by {grown} MiB"
    assert storescu(service.port, files).returncode == 0, service.log()[-2000:]
    assert min(acknowledged.values()) > 0, "the fuzzing never got to a data set"
    assert "Traceback" not in service.log()
    until(lambda: not list((service.data / "spool" / "incoming").glob("[!.]*")), what="everything is indexed")
    assert set(service.states()) <= {"not read", "held", "rejected", "receiving", "complete"}


@pytest.mark.parametrize("order", ["data before the answer", "data after the release"])
def test_data_out_of_turn_ends_the_connection_and_costs_no_place(wetread: Start, tmp_path: Path, order: str) -> None:
    """pynetdicom's network thread would end here, with the connection open and its place taken for ever."""
    service = wetread(mode="off")
    files = list(write_series(tmp_path / "study", shape=(2, 16, 16)).paths)
    request, *data, release = record_conversation(service.port, files)
    for _ in range(25):  # more than [listener] max_associations
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection((HOST, service.port), timeout=10) as connection,
        ):
            connection.sendall(request)
            if order == "data after the release":
                assert connection.recv(65536)
                data = [release, *data]
            connection.sendall(b"".join(data))
            while connection.recv(65536):
                pass
    assert storescu(service.port, files).returncode == 0
    assert "Traceback" not in service.log()
