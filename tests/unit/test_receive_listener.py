"""The listener as its callers see it, in this process: DCMTK, pynetdicom and bare sockets call it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE

from listening import CT1, Listen, listeners
from peers import HOST, echoscu, storescu
from phantoms import write_series
from waiting import until
from wetread.receive.listener import Callbacks, Listener, ListenerSettings
from wetread.records.notes import AssociationEnd
from wetread.store.spool import Spool


@pytest.fixture
def listen() -> Iterator[Listen]:
    yield from listeners()


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


def test_full_disk_refuses_instances_not_callers_and_recovers_by_itself(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=64 * 2**20)
    listener = Listener(ListenerSettings(port=0), [CT1], Callbacks(spool.keep, spool.note))
    port = listener.start()
    usage = shutil.disk_usage(tmp_path)
    try:
        assert storescu(port, paths[:1]).returncode == 0
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=10 * 2**20))
            full = storescu(port, paths[1:2])
            assert "Refused: OutOfResources" in full.stderr
            assert echoscu(port).returncode == 0
        assert storescu(port, paths[1:]).returncode == 0
    finally:
        listener.stop()
    assert sum(p.suffix == ".dcm" for p in spool.waiting()) == len(paths)
