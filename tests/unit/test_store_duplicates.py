"""The same SOP Instance UID again: same bytes, another header, other pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from phantoms import write_series
from stored import StoredFromPeers
from waiting import until
from wetread.service.duties.duplicates import Duplicates
from wetread.store import index
from wetread.store.index import Index
from wetread.store.requests import StudyRequests


@pytest.fixture
def store(tmp_path: Path) -> StoredFromPeers:
    """With an archive ``archive`` whose header wins."""
    store = StoredFromPeers(tmp_path / "data")
    _open(store)
    return store


def _open(store: StoredFromPeers) -> None:
    store.open()
    store.index = Index(store.db, store.spool, authorities=frozenset({"archive"}))
    store.revisions._authorities = frozenset({"archive"})


@pytest.fixture
def paths(store: StoredFromPeers, tmp_path: Path) -> tuple[Path, ...]:
    """Three images from a modality, complete."""
    paths = write_series(tmp_path / "a", shape=(3, 16, 16)).paths
    store.send(*paths, peer="other")
    assert store.after(5.0) == 1
    return paths


def _coerced(folder: Path, paths: tuple[Path, ...], change: Callable[[pydicom.Dataset], None]) -> list[Path]:
    folder.mkdir()
    written = []
    for path in paths:
        ds = pydicom.dcmread(path)
        change(ds)
        written.append(folder / path.name)
        ds.save_as(written[-1])
    return written


def _right_patient(ds: pydicom.Dataset) -> None:
    ds.PatientID, ds.PatientName = "P-2", "Right^Rita"


def _actions(store: StoredFromPeers) -> list[str]:
    return [r["action"] for r in store.db.fetch("SELECT action FROM events ORDER BY id")]


def _state(store: StoredFromPeers) -> str:
    return str(store.db.fetch("SELECT state FROM studies")[0]["state"])


def test_header_of_the_authority_replaces_the_stored_one_and_makes_a_revision(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path
) -> None:
    store.send(*_coerced(tmp_path / "b", paths, _right_patient), peer="archive", association="b")
    assert store.after(5.0) == 1
    revision = store.revisions.unrouted()[-1]
    assert (revision.number, revision.study.patient.patient_id) == (2, "P-2")
    for series in revision.study.series:
        for instance in series.instances:
            assert pydicom.dcmread(instance.path).PatientID == "P-2"
    assert store.db.fetch("SELECT count(*) AS n FROM instances")[0]["n"] == 3
    assert len(list((store.folder / "spool").rglob("*.dcm"))) == 3


def test_header_of_anybody_else_is_not_taken(store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path) -> None:
    store.send(*_coerced(tmp_path / "b", paths, _right_patient), peer="ct1", association="b")
    assert store.after(5.0) == 0
    assert store.revisions.load(1).study.patient.patient_id == "PH-0042"


def test_authority_that_changes_nothing_we_use_makes_no_revision(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path
) -> None:
    def change(ds: pydicom.Dataset) -> None:
        ds.InstitutionName = "Elsewhere"
        ds.RetrieveAETitle = "PACS"
        ds.PerformedProcedureStepID = "7"
        block = ds.private_block(0x0009, "PACS", create=True)
        block.add_new(0x01, "LO", "x")

    store.send(*_coerced(tmp_path / "b", paths, change), peer="archive", association="b")
    assert store.after(5.0) == 0
    assert len(store.evidence()) == 1


def test_modality_cannot_take_back_what_the_authority_said(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path
) -> None:
    store.send(*_coerced(tmp_path / "b", paths, _right_patient), peer="archive", association="b")
    assert store.after(5.0) == 1
    store.send(*paths, peer="other", association="c")
    assert store.after(5.0) == 0
    assert store.revisions.unrouted()[-1].study.patient.patient_id == "P-2"


def test_half_a_study_with_another_patient_is_held(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path
) -> None:
    coerced = _coerced(tmp_path / "b", paths, _right_patient)
    store.send(*coerced[:2], peer="archive", association="b")
    assert store.after(5.0) == 0
    assert _state(store) == "held"
    assert "1 image still says the former one" in store.reason()
    store.send(coerced[2], peer="archive", association="c")
    assert _state(store) == "held", "a person decides"


def test_crash_between_database_and_replacement_is_mended(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(_moves: object) -> None:
        raise KeyboardInterrupt

    coerced = _coerced(tmp_path / "b", paths, _right_patient)
    with monkeypatch.context() as crash:
        crash.setattr("wetread.store.index.move", power_cut)
        with pytest.raises(KeyboardInterrupt):
            store.send(*coerced, peer="archive", association="b")
    _open(store)
    store.take_in()
    store.after(0.0)
    assert store.after(5.0) == 1
    (revision,) = (r for r in store.revisions.unrouted() if r.number == 2)
    assert all(pydicom.dcmread(i.path).PatientID == "P-2" for s in revision.study.series for i in s.instances)


def test_duplicates_from_a_sender_that_begins_again_keep_the_study_open(store: StoredFromPeers, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", shape=(6, 16, 16)).paths
    store.send(*paths[:3], peer="other", association="a1")
    for path in paths[:3]:
        assert store.after(3.0) == 0
        store.send(path, peer="other", association="a2")
    assert store.after(3.0) == 0
    store.send(*paths[3:], peer="other", association="a2")
    assert store.after(5.0) == 1
    assert len(store.revisions.unrouted()) == 1


def _compressed(
    folder: Path, paths: tuple[Path, ...], change: Callable[[pydicom.Dataset], None] | None = None
) -> list[Path]:
    def compress(ds: pydicom.Dataset) -> None:
        if change is not None:
            change(ds)
        ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)

    return _coerced(folder, paths, compress)


def _compare(store: StoredFromPeers) -> None:
    duty = Duplicates(store.index)
    duty.recover()
    duty.round()
    try:
        until(lambda: duty.round() or not store.index.to_compare(), what="the pictures are compared")
    finally:
        duty.close()


def test_lossless_recompression_is_one_instance(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path
) -> None:
    store.send(*_compressed(tmp_path / "b", paths), peer="ct1", association="b")
    assert store.after(60.0) == 0
    assert _state(store) == "receiving", "nothing is sent before the pictures were compared"
    _compare(store)
    assert store.after(5.0) == 0
    assert (_state(store), len(store.evidence())) == ("complete", 1)
    assert len(list((store.folder / "spool").rglob("*.dcm"))) == 3


def test_recompressed_with_the_header_of_the_authority_is_one_instance_with_that_header(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path
) -> None:
    store.send(*_compressed(tmp_path / "b", paths, _right_patient), peer="archive", association="b")
    _compare(store)
    assert store.after(5.0) == 1
    revision = store.revisions.unrouted()[-1]
    assert revision.study.patient.patient_id == "P-2"
    assert revision.study.instance_count == 3


def test_other_picture_in_another_encoding_holds_the_study(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path
) -> None:
    def other(ds: pydicom.Dataset) -> None:
        ds.PixelData = bytes(reversed(ds.PixelData))

    store.send(*_compressed(tmp_path / "b", paths[:1], other), peer="ct1", association="b")
    _compare(store)
    assert _state(store) == "held"
    assert "sent again with other pixels under the same UID" in store.reason()
    assert len(list(store.spool.unreadable.iterdir())) == 1


def test_instance_that_ends_within_its_pixels_never_holds_the_study(store: StoredFromPeers, tmp_path: Path) -> None:
    """In Explicit VR Big Endian only the index looks at the end; the whole one stays, whichever comes first."""
    whole = write_series(tmp_path / "a", shape=(2, 16, 16), transfer_syntax=pydicom.uid.ExplicitVRBigEndian).paths
    (tmp_path / "cut").mkdir()
    cut = [tmp_path / "cut" / path.name for path in whole]
    for source, target in zip(whole, cut, strict=True):
        target.write_bytes(source.read_bytes()[:-100])
    store.send(whole[0], cut[1], peer="other")
    store.send(cut[0], whole[1], peer="other", association="b")
    assert _state(store) == "receiving"
    assert store.after(5.0) == 1
    (revision,) = store.revisions.unrouted()
    kept = [instance.path.read_bytes()[-200:] for s in revision.study.series for instance in s.instances]
    assert sorted(kept) == sorted(path.read_bytes()[-200:] for path in whole)
    (aside,) = store.db.fetch("SELECT reason FROM unreadable")
    assert aside["reason"] == "ends within its pixel data; a stored instance has its UID"
    assert "header_replaced" in _actions(store)


def test_pixels_that_cannot_be_decoded_hold_the_study(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path
) -> None:
    (path,) = _compressed(tmp_path / "b", paths[:1])
    ds = pydicom.dcmread(path)
    ds.PixelData = pydicom.encaps.encapsulate([b"\x01\x00\x00\x00garbage."])
    ds.save_as(path)
    store.send(path, peer="ct1", association="b")
    _compare(store)
    assert _state(store) == "held"
    assert "cannot be compared" in store.reason()


def test_crash_before_the_answer_is_carried_out_is_mended(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(_moves: object) -> None:
        raise KeyboardInterrupt

    store.send(*_compressed(tmp_path / "b", paths[:1]), peer="ct1", association="b")
    (one,) = store.index.to_compare()
    with monkeypatch.context() as crash:
        crash.setattr("wetread.store.index.move", power_cut)
        with pytest.raises(KeyboardInterrupt):
            store.index.compared(one, "")
    assert one.path.exists()
    _open(store)
    store.index.take_back()
    store.take_in()
    _compare(store)
    assert not list(store.spool.comparing.iterdir())
    assert store.db.fetch("SELECT count(*) AS n FROM instances")[0]["n"] == 3


def test_header_that_says_what_was_corrected_before_makes_no_other_read(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_ROUND_S", 60.0)  # however busy the machine is
    uid = str(pydicom.dcmread(paths[0]).StudyInstanceUID)
    ask = StudyRequests(store.db, store.revisions, who="alice")
    ask.correct(uid, {"patient_id": "P-2", "name": "Right^Rita"}, "mixed up")
    store.send(*_coerced(tmp_path / "b", paths, _right_patient), peer="archive", association="b")
    assert store.after(5.0) == 0
    assert (len(store.evidence()), _state(store)) == (2, "complete")
    (event,) = store.db.fetch("SELECT detail FROM events WHERE action = 'header_replaced'")
    assert event["detail"] == "the header of archive says what was corrected before (3 instances)"
    store.send(*paths, peer="other", association="c")
    assert store.after(5.0) == 0, "the modality takes nothing back"
    assert ask.take_back(uid, "the archive knows it now") == "complete"
    revision = store.revisions.unrouted()[-1]
    assert (revision.number, revision.study.patient.patient_id) == (3, "P-2")
    for series in revision.study.series:
        for instance in series.instances:
            assert pydicom.dcmread(instance.path).PatientID == "P-2", "the file is the archive's"


@pytest.mark.parametrize("what", ["another patient than corrected", "something else too"])
def test_header_that_says_more_than_was_corrected_is_read(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path, what: str
) -> None:
    def change(ds: pydicom.Dataset) -> None:
        ds.PatientID = "P-3" if what == "another patient than corrected" else "P-2"
        if what == "something else too":
            ds.PatientBirthDate = "19991231"

    uid = str(pydicom.dcmread(paths[0]).StudyInstanceUID)
    StudyRequests(store.db, store.revisions, who="alice").correct(uid, {"patient_id": "P-2"}, "mixed up")
    store.send(*_coerced(tmp_path / "b", paths, change), peer="archive", association="b")
    assert store.after(5.0) == 1


def test_what_every_instance_says_is_one_event_for_a_round(
    store: StoredFromPeers, paths: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_ROUND_S", 60.0)  # however busy the machine is
    store.send(*_coerced(tmp_path / "b", paths, _right_patient), peer="archive", association="b")
    store.send(*paths, peer="ct1", association="c")
    details = [r["detail"] for r in store.db.fetch("SELECT detail FROM events WHERE detail LIKE '%header%'")]
    assert details == [
        "the header of archive replaces that of other (3 instances)",
        "same pixels with another header: the first one is kept (3 instances)",
    ]
