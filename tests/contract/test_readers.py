"""Both ways of reading an association give the same answers, whatever the peer sends."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pynetdicom import AE

from peers import HOST, storescu
from phantoms import write_series
from raw_peer import (
    COMMAND,
    LAST,
    P_DATA,
    RELEASE_RQ,
    RawPeer,
    echo_command,
    pdu,
    pdv,
    split,
    store_command,
)
from received import received
from waiting import until
from wetread.dimse import blocking
from wetread.receive.listener import Callbacks, Listener, ListenerSettings, Sender
from wetread.records.notes import AssociationEnd, Note
from wetread.store.spool import Spool

pytestmark = pytest.mark.peer

READERS = ("blocking", "pynetdicom")


@dataclass
class Box:
    """A listener over a real spool."""

    port: int
    spool: Spool
    notes: list[Note]
    paths: tuple[Path, ...]

    def peer(self) -> RawPeer:
        instance = received(self.paths[0])
        return RawPeer(self.port, instance.sop_class_uid, instance.transfer_syntax_uid)

    def message(self, number: int = 0) -> tuple[bytes, bytes]:
        """Command set and data set of one instance."""
        instance = received(self.paths[number])
        return store_command(instance.sop_class_uid, instance.sop_instance_uid), bytes(instance.dataset)

    def kept(self) -> list[bytes]:
        """The data sets in the spool, without what stands before them."""
        known = [bytes(received(path).dataset) for path in self.paths]
        bodies = [path.read_bytes() for path in self.spool.waiting()]
        assert not [n for n in os.listdir(self.spool.incoming) if n.startswith(".")]
        return [next((d for d in known if body.endswith(d)), b"?") for body in bodies]

    def ends(self) -> list[tuple[str, int]]:
        return [(n.ended, n.instances) for n in self.notes if isinstance(n, AssociationEnd)]


Listen = Callable[..., Box]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    return write_series(tmp_path_factory.mktemp("study"), shape=(3, 16, 16)).paths


@pytest.fixture
def listen(tmp_path: Path, paths: tuple[Path, ...]) -> Iterator[Listen]:
    running: list[Listener] = []
    boxes: dict[object, Box] = {}

    def start(reader: str, *, once: str = "", **others: object) -> Box:
        if once in boxes:
            return boxes[once]
        spool = Spool(tmp_path / f"spool{len(running)}", reserve_bytes=int(str(others.pop("reserve_bytes", 0))))
        notes: list[Note] = []
        listener = Listener(
            ListenerSettings(port=0, reader=reader, **others),  # type: ignore[arg-type]
            (Sender("ct1", "CT1", ("127.0.0.1/32",)),),
            Callbacks(spool.keep, notes.append, spool.scratch),
        )
        running.append(listener)
        box = Box(listener.start(), spool, notes, paths)
        if once:
            boxes[once] = box
        return box

    yield start
    for listener in running:
        listener.stop()


def _small_pdvs(c: bytes, d: bytes) -> list[bytes]:
    pieces = [d[k : k + 7] for k in range(0, len(d), 7)]
    data = [pdv(LAST if k == len(pieces) - 1 else 0, piece) for k, piece in enumerate(pieces)]
    return [pdu(P_DATA, pdv(COMMAND | LAST, c)), pdu(P_DATA, b"".join(data))]


LEGAL: dict[str, Callable[[bytes, bytes], list[bytes]]] = {
    "command-then-data": lambda c, d: [pdu(P_DATA, pdv(3, c)), pdu(P_DATA, pdv(LAST, d))],
    "one-pdu": lambda c, d: [pdu(P_DATA, pdv(3, c) + pdv(LAST, d))],
    "many-small-pdvs-in-one-pdu": _small_pdvs,
    "command-in-three-pdus": lambda c, d: [
        pdu(P_DATA, pdv(1, c[:3])),
        pdu(P_DATA, pdv(1, c[3:40])),
        pdu(P_DATA, pdv(3, c[40:]) + pdv(0, d[:9])),
        pdu(P_DATA, pdv(LAST, d[9:])),
    ],
    "empty-last-fragment": lambda c, d: [pdu(P_DATA, pdv(3, c) + pdv(0, d)), pdu(P_DATA, pdv(LAST, b""))],
    "empty-pdu-between": lambda c, d: [pdu(P_DATA, pdv(3, c)), pdu(P_DATA, b""), pdu(P_DATA, pdv(LAST, d))],
    "byte-by-byte": lambda c, d: [
        bytes((b,)) for b in pdu(P_DATA, pdv(3, c)) + pdu(P_DATA, pdv(0, d[:50]) + pdv(LAST, d[50:]))
    ],
    "reserved-bits-of-the-control-header": lambda c, d: [pdu(P_DATA, pdv(0xF3, c) + pdv(0x82, d))],
}


@pytest.mark.parametrize("form", LEGAL)
@pytest.mark.parametrize("reader", READERS)
def test_every_legal_form_of_fragments_is_kept_bit_for_bit(listen: Listen, reader: str, form: str) -> None:
    box = listen(reader)
    message = box.message()
    with box.peer() as peer:
        peer.send(*LEGAL[form](*message))
        assert peer.outcome() == "0000"
        assert box.kept() == [message[1]]
        peer.send(pdu(RELEASE_RQ, bytes(4)))
        assert peer.outcome() == "released"
    until(box.ends, what="the end is noted")
    assert box.ends() == [("released", 1)]


@given(st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut_into_pdvs_pdus_and_segments_is_kept_bit_for_bit(listen: Listen, data: st.DataObject) -> None:
    box = listen("blocking", once="any cut")
    before = len(box.kept())
    c, d = box.message()
    sizes = st.lists(st.integers(0, 300), max_size=8)
    commands = split(c, data.draw(sizes, "command"))
    datasets = split(d, data.draw(sizes, "data set"))
    pdvs = [pdv(COMMAND, p) for p in commands[:-1]] + [pdv(COMMAND | LAST, commands[-1])]
    pdvs += [pdv(0, p) for p in datasets[:-1]] + [pdv(LAST, datasets[-1])]
    stream = b""
    while pdvs:
        count = data.draw(st.integers(1, 4), "PDVs in a PDU")
        stream += pdu(P_DATA, b"".join(pdvs[:count]))
        pdvs = pdvs[count:]
    with box.peer() as peer:
        peer.send(*split(stream, data.draw(st.lists(st.integers(1, 200), max_size=8), "segments")))
        assert peer.outcome() == "0000"
    assert box.kept() == [d] * (before + 1)


@pytest.mark.parametrize("reader", READERS)
def test_requests_behind_each_other_are_answered_in_order(listen: Listen, reader: str) -> None:
    box = listen(reader)
    messages = [box.message(k) for k in range(3)]
    stream = b"".join(pdu(P_DATA, pdv(3, c)) + pdu(P_DATA, pdv(LAST, d)) for c, d in messages)
    with box.peer() as peer:
        peer.send(stream)
        assert [peer.outcome() for _ in range(3)] == ["0000"] * 3
        assert box.kept() == [d for _, d in messages]


def _lie(c: bytes, d: bytes) -> list[bytes]:
    return [pdu(P_DATA, pdv(3, c)), pdu(P_DATA, pdv(LAST, d, length=len(d) + 500))]


def _cut_header(c: bytes, d: bytes) -> list[bytes]:
    return [pdu(P_DATA, pdv(3, c)), pdu(P_DATA, pdv(LAST, d[:200]))]


REFUSED: dict[str, tuple[str, Callable[[bytes, bytes], list[bytes]]]] = {
    "empty-data-set": ("C000", lambda c, d: [pdu(P_DATA, pdv(3, c)), pdu(P_DATA, pdv(LAST, b""))]),
    "data-set-cut-in-its-header": ("C000", _cut_header),
    "another-instance-than-announced": (
        "C000",
        lambda c, d: [pdu(P_DATA, pdv(3, store_command(_CLASS, "1.2.3"))), pdu(P_DATA, pdv(LAST, d))],
    ),
    "context-that-was-never-accepted": (
        "ended",
        lambda c, d: [pdu(P_DATA, pdv(3, c, context_id=5)), pdu(P_DATA, pdv(LAST, d, context_id=5))],
    ),
    "pdv-longer-than-its-pdu": ("ended", _lie),
    "pdv-without-a-control-header": (
        "ended",
        lambda c, d: [pdu(P_DATA, pdv(3, c)), pdu(P_DATA, pdv(0, d[:10]) + b"\0\0\0\x01\x01")],
    ),
    "bytes-behind-the-last-pdv": ("ended", lambda c, d: [pdu(P_DATA, pdv(3, c) + b"\0\0\0")]),
    "unknown-pdu": ("ended", lambda c, d: [pdu(P_DATA, pdv(3, c)), pdu(0x42, d)]),
    "data-set-without-command": ("ended", lambda c, d: [pdu(P_DATA, pdv(LAST, d))]),
    "association-request-once-more": ("ended", lambda c, d: [pdu(0x01, bytes(68))]),
    "command-that-is-none": ("ended", lambda c, d: [pdu(P_DATA, pdv(3, b"\xff" * 40)), pdu(P_DATA, pdv(LAST, d))]),
    "service-that-was-not-negotiated": (
        "ended",
        lambda c, d: [
            pdu(P_DATA, pdv(3, store_command("1.2.840.10008.5.1.4.1.2.2.1", "1.2.3", CommandField=0x0020))),
            pdu(P_DATA, pdv(LAST, d)),
        ],
    ),
}
_CLASS = "1.2.840.10008.5.1.4.1.1.4"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # pynetdicom's thread dies of some
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_wrong_is_answered_alike_and_not_kept(listen: Listen, reader: str, case: str) -> None:
    box = listen(reader)
    expected, parts = REFUSED[case]
    with box.peer() as peer:
        peer.send(*parts(*box.message()))
        assert peer.outcome() == expected
        if expected == "C000":  # and the association goes on
            peer.send(*LEGAL["one-pdu"](*box.message()))
            assert peer.outcome() == "0000"
    until(box.ends, what="the end is noted") if expected == "C000" else None
    assert box.kept() == ([box.message()[1]] if expected == "C000" else [])


@pytest.mark.parametrize("how", ["abort", "close"])
@pytest.mark.parametrize("reader", READERS)
def test_sender_that_goes_in_the_middle_of_an_instance_leaves_what_was_acknowledged(
    listen: Listen, reader: str, how: str
) -> None:
    box = listen(reader)
    (c, d), (c2, d2) = box.message(0), box.message(1)
    with box.peer() as peer:
        peer.send(*LEGAL["one-pdu"](c, d))
        assert peer.outcome() == "0000"
        peer.send(pdu(P_DATA, pdv(3, c2)), pdu(P_DATA, pdv(0, d2[:300])))
        if how == "abort":
            peer.send(pdu(0x07, bytes(4)))
        else:
            peer.send(pdu(P_DATA, pdv(LAST, d2[300:]))[:40])
    until(box.ends, what="the end is noted")
    assert box.ends() == [("aborted" if how == "abort" else "lost", 1)]
    assert box.kept() == [d]


@pytest.mark.parametrize("reader", READERS)
def test_echo_between_instances_is_answered_and_the_rest_is_kept(listen: Listen, reader: str) -> None:
    box = listen(reader)
    with box.peer() as peer:
        for number in (0, 1):
            peer.send(*LEGAL["command-in-three-pdus"](*box.message(number)))
            assert peer.outcome() == "0000"
            peer.send(pdu(P_DATA, pdv(3, echo_command(), context_id=3)))
            assert peer.outcome() == "echo"
    assert box.kept() == [box.message(k)[1] for k in (0, 1)]


@pytest.mark.parametrize("reader", READERS)
def test_answer_names_the_request_it_answers(listen: Listen, reader: str) -> None:
    box = listen(reader)
    instance = received(box.paths[0])
    request = store_command(instance.sop_class_uid, "1.2.3", message_id=0xABCD)
    with box.peer() as peer:
        peer.send(*LEGAL["one-pdu"](request, bytes(instance.dataset)))
        answer = peer.receive()
    assert answer is not None
    ds = peer.command_set(answer[1])
    assert (ds.CommandField, ds.MessageIDBeingRespondedTo, ds.CommandDataSetType) == (0x8001, 0xABCD, 0x0101)
    assert (ds.AffectedSOPClassUID, ds.AffectedSOPInstanceUID) == (instance.sop_class_uid, "1.2.3")
    assert (ds.Status, ds.ErrorComment) == (0xC000, "SOP Class or Instance UID of request and data set differ")


@pytest.mark.parametrize("reader", READERS)
def test_full_disk_is_answered_and_the_association_goes_on(listen: Listen, reader: str) -> None:
    box = listen(reader, reserve_bytes=2**62)
    with box.peer() as peer:
        for _ in range(2):
            peer.send(*LEGAL["one-pdu"](*box.message()))
            assert peer.outcome() == "A700"
    assert box.kept() == []


@pytest.mark.parametrize("reserve_bytes", [0, 2**62])
def test_data_set_larger_than_the_buffer_goes_over_the_disk(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, reserve_bytes: int
) -> None:
    monkeypatch.setattr(blocking, "_BUFFER_BYTES", 100)
    box = listen("blocking", reserve_bytes=reserve_bytes)
    with box.peer() as peer:
        for _ in range(2):
            peer.send(*LEGAL["command-in-three-pdus"](*box.message()))
            assert peer.outcome() == ("A700" if reserve_bytes else "0000")
    assert box.kept() == [] if reserve_bytes else [box.message()[1]] * 2
    assert {p.name for p in box.spool.folder.iterdir()} == {"incoming", "studies", "comparing", "unreadable"}


@pytest.mark.parametrize("sent", [b"", b"\x04\x00", pdu(P_DATA, pdv(3, b"\0" * 40), length=900)])
def test_silence_ends_the_association_wherever_it_begins(listen: Listen, sent: bytes) -> None:
    box = listen("blocking", network_timeout_s=0.3)
    with box.peer() as peer:
        peer.send(*LEGAL["one-pdu"](*box.message()))
        assert peer.outcome() == "0000"
        peer.send(sent)
        assert peer.outcome() == "ended"
        until(box.ends, what="the end is noted")
    assert box.ends() == [("lost", 1)]


@pytest.mark.parametrize("reader", READERS)
def test_dcmtk_and_pynetdicom_are_stored_bit_for_bit(listen: Listen, reader: str) -> None:
    box = listen(reader)
    assert storescu(box.port, box.paths[:2], options=("--max-send-pdu", "4096")).returncode == 0
    ds = pydicom.dcmread(box.paths[2])
    ae = AE(ae_title="CT1")
    ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    assoc = ae.associate(HOST, box.port, ae_title="WETREAD")
    assert assoc.send_c_store(ds).Status == 0x0000
    assoc.release()
    assert sorted(box.kept()) == sorted(bytes(received(path).dataset) for path in box.paths)


@pytest.mark.parametrize("reader", READERS)
def test_retired_storage_class_that_was_accepted_is_stored(listen: Listen, reader: str, tmp_path: Path) -> None:
    def retire(ds: pydicom.Dataset, _k: int) -> None:
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6"  # Ultrasound Image Storage as of 1993

    retired = write_series(tmp_path / "retired", shape=(3, 16, 16), mutate=retire).paths
    box = dataclasses.replace(listen(reader), paths=retired)
    with box.peer() as peer:
        peer.send(*LEGAL["one-pdu"](*box.message()))
        assert peer.outcome() == "0000"
    assert box.kept() == [box.message()[1]]


@pytest.mark.parametrize("reader", READERS)
def test_request_with_something_unusual_is_kept_too(listen: Listen, reader: str) -> None:
    """An element of another group in the command set: our own reader leaves such a request to pynetdicom, whole."""
    box = listen(reader)
    c, d = box.message()
    unusual = c + b"\x09\x00\x10\x00\x02\x00\x00\x00AB"
    with box.peer() as peer:
        peer.send(pdu(P_DATA, pdv(COMMAND, unusual[:20])), pdu(P_DATA, pdv(3, unusual[20:]) + pdv(0, d[:99])))
        peer.send(pdu(P_DATA, pdv(LAST, d[99:])))
        assert peer.outcome() == "0000"
    assert box.kept() == [d]
