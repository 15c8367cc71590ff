"""The index: from files in ``incoming/`` to studies, revisions and reasons."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pydicom
import pytest

from phantoms import write_series
from received import received
from stored import Stored
from wetread.db import Database
from wetread.records.notes import AssociationEnd, Event, Refusal
from wetread.store.requests import StudyRequests


@pytest.fixture
def store(tmp_path: Path) -> Stored:
    return Stored(tmp_path / "data")


def _states(store: Stored) -> list[tuple[str, str]]:
    return [(r["state"], r["reason"]) for r in store.db.fetch("SELECT state, reason FROM studies ORDER BY id")]


def test_study_is_complete_after_the_quiet_time_and_not_before(store: Stored, tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "a", shape=(4, 16, 16))
    store.receive(*phantom.paths[:2])
    store.clock.at += 4.0
    store.receive(*phantom.paths[2:])
    store.clock.at += 4.0
    assert store.revisions.close_complete() == 0
    assert store.be_quiet() == 1
    (revision,) = store.revisions.unrouted()
    assert revision.number == 1
    assert revision.study.instance_count == 4
    assert revision.study.study_instance_uid == phantom.study_instance_uid
    assert all(i.path.is_file() for s in revision.study.series for i in s.instances)


def test_duplicates_are_free(store: Stored, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", shape=(4, 16, 16)).paths
    store.receive(*paths)
    assert store.be_quiet() == 1
    store.receive(*paths)
    assert store.be_quiet() == 0
    assert store.count("instances") == 4
    assert len(list((store.folder / "spool").rglob("*.dcm"))) == 4


def test_late_instance_makes_a_new_revision_and_leaves_the_old_one(store: Stored, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", shape=(4, 16, 16)).paths
    store.receive(*paths[:3])
    store.be_quiet()
    store.receive(paths[3])
    assert store.be_quiet() == 1
    first, second = store.revisions.unrouted()
    assert (first.number, first.study.instance_count) == (1, 3)
    assert (second.number, second.study.instance_count) == (2, 4)


def test_same_instance_with_another_header_is_one_instance(store: Stored, tmp_path: Path) -> None:
    path = write_series(tmp_path / "a", shape=(2, 16, 16)).paths[0]
    store.receive(path)
    ds = pydicom.dcmread(path)
    ds.AccessionNumber = "COERCED"
    ds.save_as(path)
    store.receive(path)
    assert store.count("instances") == 1
    assert _states(store) == [("receiving", "")]


def test_same_uid_with_other_pixels_holds_the_study_and_keeps_both(store: Stored, tmp_path: Path) -> None:
    path = write_series(tmp_path / "a", shape=(2, 16, 16)).paths[0]
    store.receive(path)
    ds = pydicom.dcmread(path)
    ds.PixelData = bytes(reversed(ds.PixelData))
    ds.save_as(path)
    store.receive(path)
    ((state, reason),) = _states(store)
    assert state == "held"
    assert "other pixels under the same SOP Instance UID" in reason
    assert store.be_quiet() == 0
    assert store.count("unreadable") == 1
    assert len(list(store.spool.unreadable.iterdir())) == 1


def test_two_patients_in_one_study_are_held(store: Stored, tmp_path: Path) -> None:
    def mutate(ds: pydicom.Dataset, k: int) -> None:
        ds.PatientBirthDate = "19800229" if k else "19990101"

    store.receive(*write_series(tmp_path / "a", shape=(3, 16, 16), mutate=mutate).paths)
    assert _states(store) == [("held", "instances of two patients in one study: birth date differs")]


def test_acknowledged_and_then_damaged_is_listed_never_dropped(store: Stored, tmp_path: Path) -> None:
    path = store.spool.keep(received(write_series(tmp_path / "a", shape=(2, 16, 16)).paths[0]))
    path.write_bytes(path.read_bytes()[:200])
    store.take_in_what_is_listed()
    assert store.count("unreadable") == 1
    assert [p.name for p in store.spool.unreadable.iterdir()] == [path.name]
    assert not any(store.spool.waiting())


def test_crash_between_database_and_move_is_mended_by_the_next_start(
    store: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_series(tmp_path / "a", shape=(3, 16, 16)).paths

    def power_cut(_moves: object) -> None:
        raise KeyboardInterrupt

    for path in paths:
        store.spool.keep(received(path))
    with monkeypatch.context() as crash:
        crash.setattr("wetread.store.index.move", power_cut)
        with pytest.raises(KeyboardInterrupt):
            store.take_in_what_is_listed()
    assert len(list(store.spool.waiting())) == 3
    store.open()
    store.receive()
    assert not any(store.spool.waiting())
    assert store.be_quiet() == 1
    (revision,) = store.revisions.unrouted()
    assert all(i.path.is_file() for s in revision.study.series for i in s.instances)
    assert revision.study.instance_count == 3


def test_derived_objects_never_make_a_study_complete(store: Stored, tmp_path: Path) -> None:
    def mutate(ds: pydicom.Dataset, _k: int) -> None:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"

    store.receive(*write_series(tmp_path / "a", shape=(2, 16, 16), mutate=mutate).paths)
    assert store.be_quiet() == 0
    assert store.revisions.unrouted() == []
    ((state, reason),) = _states(store)
    assert state == "complete"
    assert "nothing to read" in reason


def test_lost_database_is_rebuilt_and_every_study_held(store: Stored, tmp_path: Path) -> None:
    store.receive(*write_series(tmp_path / "a", study_seed="a", shape=(3, 16, 16)).paths)
    store.receive(*write_series(tmp_path / "b", study_seed="b", shape=(2, 16, 16)).paths)
    store.be_quiet()
    before = {r["sop_instance_uid"] for r in store.db.fetch("SELECT sop_instance_uid FROM instances")}
    store.db.close()
    for path in store.folder.glob("wetread.db*"):
        path.unlink()
    store.open()
    assert store.index.rebuild() == 5
    assert {r["sop_instance_uid"] for r in store.db.fetch("SELECT sop_instance_uid FROM instances")} == before
    assert {state for state, _ in _states(store)} == {"held"}
    uid = store.db.fetch("SELECT study_instance_uid FROM studies")[0]["study_instance_uid"]
    StudyRequests(store.db, store.revisions, who="tester").release(uid)
    assert store.be_quiet() == 1


def test_newer_schema_is_refused(store: Stored) -> None:
    from wetread.errors import Misconfigured

    with store.db.transaction() as tx:
        tx.run("CREATE TABLE marker (x)")
    store.db._connection().execute("PRAGMA user_version = 99")
    with pytest.raises(Misconfigured, match="newer Wetread"):
        Database(store.folder / "wetread.db")


def test_database_of_the_first_schema_is_upgraded_with_all_it_holds(tmp_path: Path) -> None:
    """A data folder written before schema 2: revisions get their attributes, jobs their due time, the outbox stays."""
    import sqlite3
    from importlib import resources

    path = tmp_path / "wetread.db"
    first = (resources.files("wetread") / "schema" / "0001_initial.sql").read_text(encoding="utf-8")
    rows = """
        INSERT INTO studies VALUES (1, '1.2', 'f', '{"a": 1}', 'complete', '', 't', 't');
        INSERT INTO revisions VALUES (1, 1, 1, 'd', 'quiet', 't', 't');
        INSERT INTO jobs (id, study_id, revision_id, route, mode, destinations, bundle, bundle_version, bundle_digest,
            bundle_folder, chosen, input_digest, config_digest, state, available_at, created_at)
            VALUES ('j', 1, 1, 'r', 'live', '[]', 'b', '1', 'd', 'f', '[]', 'i', 'c', 'done', 't', 'created');
        INSERT INTO results VALUES ('1.5', 'j', 0, 'SEG', '1', '1', '1', 'p', 's');
        INSERT INTO outbox (job_id, sop_instance_uid, destination, state, available_at, last_error)
            VALUES ('j', '1.5', 'pacs', 'pending', 't', 'away');
        PRAGMA user_version = 1;
    """
    with sqlite3.connect(path) as old:
        old.executescript(first + rows)
    old.close()
    db = Database(path)
    assert db.fetch("SELECT attributes, evidence FROM revisions")[0]["attributes"] == '{"a": 1}'
    assert db.fetch("SELECT due FROM jobs")[0]["due"] == "created"
    assert dict(db.fetch("SELECT destination, state, last_error, verified FROM outbox")[0]) == {
        "destination": "pacs", "state": "pending", "last_error": "away", "verified": "",
    }  # fmt: skip
    assert db.fetch("SELECT state, reason FROM study_status")[0]["state"] == "delivering"
    db.close()


def test_end_of_an_association_and_its_instances_find_each_other(store: Stored, tmp_path: Path) -> None:
    for path in write_series(tmp_path / "a", shape=(3, 16, 16)).paths:
        store.spool.keep(received(path))
    store.spool.note(AssociationEnd("a1", "ct1", "released", 3, "2026-03-14T15:09:26.000+00:00"))
    store.take_in_what_is_listed()
    (row,) = store.db.fetch(
        "SELECT a.*, count(*) AS found FROM associations a JOIN instances i ON i.association_id = a.id GROUP BY a.id"
    )
    assert (row["id"], row["peer"], row["ended"], row["instances"], row["found"]) == ("a1", "ct1", "released", 3, 3)
    assert list(store.spool.waiting()) == []


def test_refusals_are_counted_per_caller_and_the_oldest_strangers_forgotten(
    store: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wetread.store.notes.KEPT_REFUSALS", 2)
    for number, calling in enumerate(("A", "B", "A", "C")):
        at = f"2026-03-14T15:09:2{number}.000+00:00"
        store.spool.note(Refusal(calling, "WETREAD", "10.0.0.9", f"{calling} is a stranger", "", 5, at, at))
    store.take_in_what_is_listed()
    rows = store.db.fetch("SELECT calling, count, reason, first_at < last_at AS again FROM refusals ORDER BY calling")
    assert [tuple(r) for r in rows] == [("A", 10, "A is a stranger", 1), ("C", 5, "C is a stranger", 0)]


def test_note_of_an_earlier_version_is_an_event(store: Stored) -> None:
    path = store.spool.note(Event("x", "y"))
    path.write_text(json.dumps({"action": "association_closed", "detail": "CT1@10.0.0.7: 3 instances stored"}))
    store.take_in_what_is_listed()
    assert [r["action"] for r in store.db.fetch("SELECT action FROM events")] == ["association_closed"]


def test_highest_priority_of_the_instances_is_the_studys(store: Stored, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", shape=(3, 16, 16)).paths
    seen = []
    for path, priority in zip(paths, (-10, 10, 0), strict=True):
        instance = received(path)
        provenance = dataclasses.replace(instance.provenance, priority=priority)
        store.spool.keep(dataclasses.replace(instance, provenance=provenance))
        store.take_in_what_is_listed()
        seen.append(store.db.fetch("SELECT priority FROM studies")[0]["priority"])
    assert seen == [-10, 10, 10]
