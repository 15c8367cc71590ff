"""The listener as its callers see it, in this process: DCMTK, pynetdicom and bare sockets call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE

from peers import HOST, storescu
from phantoms import write_series
from waiting import until
from wetread.errors import SpoolUnavailable
from wetread.receive.listener import Callbacks, Listener, ListenerSettings, Sender
from wetread.records.notes import AssociationEnd, Note
from wetread.records.received import ReceivedInstance


@dataclass
class Kept:
    """What the listener handed over, in its order."""

    instances: list[ReceivedInstance] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    full: bool = False

    def keep(self, received: ReceivedInstance) -> None:
        if self.full:
            raise SpoolUnavailable("12 MiB free on the spool's disk, 64 MiB are kept in reserve")
        self.instances.append(received)
        self.order.append("instance")

    def note(self, note: Note) -> None:
        self.notes.append(note)
        self.order.append(type(note).__name__)

    def ends(self) -> list[tuple[str, int]]:
        return [(n.ended, n.instances) for n in self.notes if isinstance(n, AssociationEnd)]


Listen = Callable[..., tuple[int, Kept]]
CT1 = Sender("ct1", "CT1", ("127.0.0.1/32",))


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Start a listener; keywords are its settings. Gives the port, and what it kept."""
    running: list[Listener] = []

    def start(senders: tuple[Sender, ...] = (CT1,), **settings: object) -> tuple[int, Kept]:
        kept = Kept()
        listener = Listener(ListenerSettings(port=0, **settings), senders, Callbacks(kept.keep, kept.note))  # type: ignore[arg-type]
        running.append(listener)
        return listener.start(), kept

    yield start
    for listener in running:
        listener.stop()


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write_series(tmp_path / "study", shape=(4, 16, 16)).paths


def associate(port: int, sop_class: str) -> AE:
    """An association by pynetdicom, to be ended as the test likes."""
    ae = AE(ae_title="CT1")
    ae.add_requested_context(sop_class, "1.2.840.10008.1.2.1")
    assoc = ae.associate(HOST, port, ae_title="WETREAD")
    assert assoc.is_established
    return assoc


def test_release_is_noted_after_the_last_instance(listen: Listen, paths: list[Path]) -> None:
    port, kept = listen()
    assert storescu(port, paths).returncode == 0
    until(kept.ends, what="the end is noted")
    assert kept.ends() == [("released", 4)]
    assert kept.order == ["instance"] * 4 + ["AssociationEnd"]
    (end,) = [n for n in kept.notes if isinstance(n, AssociationEnd)]
    assert {i.provenance.association_id for i in kept.instances} == {end.association_id}
    assert end.peer == "ct1"


@pytest.mark.parametrize(("how", "ended"), [("abort", "aborted"), ("close", "lost")])
def test_abort_and_loss_are_told_apart(listen: Listen, paths: list[Path], how: str, ended: str) -> None:
    port, kept = listen()
    ds = pydicom.dcmread(paths[0])
    assoc = associate(port, ds.SOPClassUID)
    assert assoc.send_c_store(ds).Status == 0x0000
    if how == "abort":
        assoc.abort()
    else:
        assoc.dul.socket.close()
    until(kept.ends, what="the end is noted")
    assert kept.ends() == [(ended, 1)]


def test_end_of_an_echo_alone_leaves_no_note(listen: Listen) -> None:
    port, kept = listen()
    assoc = associate(port, "1.2.840.10008.1.1")
    assert assoc.send_c_echo().Status == 0x0000
    assoc.release()
    until(lambda: not assoc.is_alive())
    assert kept.notes == []


def test_refused_instances_do_not_count(listen: Listen, paths: list[Path]) -> None:
    port, kept = listen()
    ds = pydicom.dcmread(paths[0])
    assoc = associate(port, ds.SOPClassUID)
    assert assoc.send_c_store(ds).Status == 0x0000
    kept.full = True
    assert assoc.send_c_store(ds).Status == 0xA700
    assoc.release()
    until(kept.ends, what="the end is noted")
    assert kept.ends() == [("released", 1)]
