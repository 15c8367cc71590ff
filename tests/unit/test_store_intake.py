"""Taking in what is spooled: one listing and one reading serve, and a failure in the middle loses nothing."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
from pathlib import Path

import pydicom
import pytest

from phantoms import write_series
from received import received
from waiting import until
from wetread.db import Database
from wetread.dimse.dataset import content_digest, read_instance
from wetread.errors import InstanceRefused, SpoolUnavailable
from wetread.store import durable, index
from wetread.store.index import Index
from wetread.store.part10 import meta_of, provenance_of
from wetread.store.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, ...]:
    return write_series(tmp_path / "study", shape=(5, 16, 16)).paths


def _instances(db: Database) -> int:
    return int(db.fetch("SELECT count(*) AS n FROM instances")[0]["n"])


def test_many_batches_need_one_listing_of_the_folder(
    spool: Spool, paths: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BATCH", 2)
    listings: list[str] = []
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listings.append(str(folder)) or listed(folder))
    for path in paths:
        spool.keep(received(path))
    intake = Index(Database(tmp_path / "wetread.db"), spool)
    while not intake.is_empty():
        assert intake.take_in()
    assert listings.count(str(spool.incoming)) == 1


def test_move_that_fails_in_the_middle_of_a_batch_is_made_up_for(
    spool: Spool, paths: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in paths:
        spool.keep(received(path))
    db = Database(tmp_path / "wetread.db")
    intake = Index(db, spool)
    rename, left = os.rename, iter([True, True])

    def fails_at_the_third(source: Path, target: Path) -> None:
        if not next(left, False):
            raise OSError(5, "Input/output error")
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", fails_at_the_third)
        with pytest.raises(SpoolUnavailable, match="Input/output error"):
            intake.take_in()
    while not intake.is_empty():
        intake.take_in()
    assert _instances(db) == len(paths)
    assert db.fetch("SELECT * FROM unreadable") == []
    assert len(list(spool.studies.glob("*/*.dcm"))) == len(paths)


def test_one_reading_gives_header_and_the_digests_of_two(paths: tuple[Path, ...]) -> None:
    header, digest, pixel_digest = read_instance(paths[0])
    assert (digest, pixel_digest) == content_digest(paths[0])
    assert header.SOPInstanceUID == pydicom.dcmread(paths[0]).SOPInstanceUID
    assert "PixelData" not in header


def test_meta_information_is_what_pydicom_would_write(paths: tuple[Path, ...], tmp_path: Path) -> None:
    instance = received(paths[0])
    written = tmp_path / "ours.dcm"
    written.write_bytes(meta_of(instance) + bytes(instance.dataset))
    ds = pydicom.dcmread(written)
    ds.save_as(tmp_path / "theirs.dcm", enforce_file_format=True)
    assert (tmp_path / "theirs.dcm").read_bytes() == written.read_bytes()
    assert provenance_of(written) == instance.provenance


def test_header_longer_than_the_first_look_is_read_to_its_end(spool: Spool, tmp_path: Path) -> None:
    def lengthen(ds: pydicom.Dataset, _k: int) -> None:
        ds.add_new(0x00091001, "OB", b"\x01" * 200_000)  # before the Study Instance UID

    path = write_series(tmp_path / "long", shape=(3, 16, 16), mutate=lengthen).paths[0]
    spool.keep(received(path))
    with pytest.raises(InstanceRefused):
        spool.keep(dataclasses.replace(received(path), dataset=bytes(received(path).dataset)[:150_000]))


def test_one_sync_of_the_folder_serves_all_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sync is held up until nine more have written; they are all served by the second one."""
    syncs: list[set[str]] = []
    everyone_waits = threading.Event()
    folder = durable.DurableFolder(tmp_path)

    def sync(path: Path) -> None:
        syncs.append({p.name for p in path.iterdir() if not p.name.startswith(".")})
        if len(syncs) == 1:
            assert everyone_waits.wait(30)

    monkeypatch.setattr(durable, "sync_folder", sync)
    first = threading.Thread(target=folder.write, args=("0", b"x"))
    first.start()
    others = [threading.Thread(target=folder.write, args=(str(k), b"x")) for k in range(1, 10)]
    for thread in others:
        thread.start()
    until(lambda: folder._asked == 10, what="everyone waits")
    everyone_waits.set()
    for thread in (first, *others):
        thread.join(30)
    assert len(syncs) == 2
    assert syncs[1] == {str(k) for k in range(10)}


def test_sync_that_fails_serves_nobody_who_waited_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of three syncs fails, for its own writer alone: the one who waited with it syncs for itself."""
    syncs: list[int] = []
    everyone_waits = threading.Event()
    folder = durable.DurableFolder(tmp_path)
    failed: list[OSError] = []

    def sync(_path: Path) -> None:
        syncs.append(len(syncs))
        if len(syncs) == 1:
            assert everyone_waits.wait(30)
        if len(syncs) == 2:
            raise OSError(28, "No space left on device")

    def write(name: str) -> None:
        try:
            folder.write(name, b"x")
        except OSError as exc:
            failed.append(exc)

    monkeypatch.setattr(durable, "sync_folder", sync)
    threads = [threading.Thread(target=write, args=(str(k),)) for k in range(3)]
    threads[0].start()
    until(lambda: syncs, what="the first sync has begun")
    for thread in threads[1:]:
        thread.start()
    until(lambda: folder._asked == 3, what="everyone waits")
    everyone_waits.set()
    for thread in threads:
        thread.join(30)
    assert len(failed) == 1
    assert len(syncs) == 3


def test_disk_that_fails_is_told_to_the_sender(
    spool: Spool, paths: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(_folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "sync_folder", sync)
    with pytest.raises(SpoolUnavailable, match="No space left"):
        spool.keep(received(paths[0]))


def test_a_batch_ends_by_time_and_the_next_one_goes_on_where_it_ended(
    spool: Spool, paths: tuple[Path, ...], tmp_path: Path
) -> None:
    for path in paths:
        spool.keep(received(path))
    seconds = itertools.count()
    db = Database(tmp_path / "wetread.db")
    intake = Index(db, spool, clock=lambda: float(next(seconds)))
    for taken in range(1, len(paths) + 1):
        intake.take_in()
        assert _instances(db) == taken
    assert intake.is_empty()


def test_note_that_cannot_be_read_is_set_aside_and_stops_nothing(
    spool: Spool, paths: tuple[Path, ...], tmp_path: Path
) -> None:
    for name, text in (("0-a", "{"), ("0-b", '{"kind": "refusal"}'), ("0-c", '{"kind": "nobody knows"}')):
        (spool.incoming / f"{name}.event.json").write_text(text)
    spool.keep(received(paths[0]))
    db = Database(tmp_path / "wetread.db")
    intake = Index(db, spool)
    while not intake.is_empty():
        intake.take_in()
    assert _instances(db) == 1
    reasons = [row["reason"] for row in db.fetch("SELECT reason FROM unreadable")]
    assert len(reasons) == 3
    assert all("a note of an entrance that cannot be read" in reason for reason in reasons)


def test_instance_that_memory_is_short_for_stays_and_is_taken_in_later(
    spool: Spool, paths: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> None:
        raise MemoryError

    spool.keep(received(paths[0]))
    db = Database(tmp_path / "wetread.db")
    intake = Index(db, spool)
    with monkeypatch.context() as patched:
        patched.setattr(index, "read_arrival", short)
        with pytest.raises(SpoolUnavailable, match="not enough memory"):
            intake.take_in()
    assert db.fetch("SELECT * FROM unreadable") == []
    intake.take_in()
    assert _instances(db) == 1
