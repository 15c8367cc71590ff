"""One contract for every destination kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from peers import Orthanc, free_port
from phantoms import write_series
from wetread.db import Database, now
from wetread.deliver.destination import KINDS, Destination, DestinationSettings, open_destination
from wetread.deliver.outbox import Delivery, DeliverySettings
from wetread.dimse.scu import Remote
from wetread.errors import DestinationUnavailable


@dataclass
class Place:
    """A destination, how to make it unavailable, and what arrived there."""

    destination: Destination
    broken: Destination
    arrived: Callable[[], set[str]]


def _folder(tmp_path: Path) -> Iterator[Place]:
    target = tmp_path / "target"
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    yield Place(
        open_destination(DestinationSettings("f", "folder", path=str(target)), None),
        open_destination(DestinationSettings("f", "folder", path=str(in_the_way / "below")), None),
        lambda: {str(pydicom.dcmread(p).SOPInstanceUID) for p in target.glob("*.dcm")},
    )


def _dicom(tmp_path: Path) -> Iterator[Place]:
    orthanc = Orthanc(tmp_path / "orthanc")
    orthanc.start()
    settings = DestinationSettings("d", "dicom", peer="pacs")
    yield Place(
        open_destination(settings, Remote("127.0.0.1", orthanc.dicom_port, "ORTHANC")),
        open_destination(settings, Remote("127.0.0.1", free_port(), "ORTHANC", timeout_s=2.0)),
        lambda: {i["MainDicomTags"]["SOPInstanceUID"] for i in orthanc.instances()},
    )
    orthanc.stop()


_MAKERS = {"folder": _folder, "dicom": _dicom}


def test_every_kind_is_under_contract() -> None:
    assert set(_MAKERS) == set(KINDS)


@pytest.fixture(params=[pytest.param("folder"), pytest.param("dicom", marks=pytest.mark.peer)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    yield from _MAKERS[request.param](tmp_path)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return list(write_series(tmp_path / "series", shape=(3, 16, 16)).paths)


def _uids(paths: list[Path]) -> set[str]:
    return {str(pydicom.dcmread(p).SOPInstanceUID) for p in paths}


def test_accepted_means_arrived_and_again_is_harmless(place: Place, paths: list[Path]) -> None:
    for _ in range(2):
        answers = place.destination.deliver(paths)
        assert [a.accepted for a in answers] == [True] * len(paths)
        assert place.arrived() == _uids(paths)


def test_unavailable_is_raised_not_answered(place: Place, paths: list[Path]) -> None:
    with pytest.raises(DestinationUnavailable):
        place.broken.deliver(paths)


@pytest.mark.peer
def test_refused_sop_class_fails_only_its_own_objects(tmp_path: Path, paths: list[Path]) -> None:
    """Orthanc does not know Label Map Segmentation and refuses that context; the rest must still arrive."""

    def mutate(ds: pydicom.Dataset, _k: int) -> None:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"

    unknown = write_series(tmp_path / "labelmap", shape=(2, 16, 16), series_seed="l", mutate=mutate).paths[0]
    for place in _dicom(tmp_path):
        answers = place.destination.deliver([unknown, *paths])
        assert [a.accepted for a in answers] == [False, True, True, True]
        assert "does not accept SOP class 1.2.840.10008.5.1.4.1.1.66.7" in answers[0].error
        assert place.arrived() == _uids(paths)


def _outbox(tmp_path: Path, path: Path) -> Database:
    """A database whose outbox holds this file for ``f``."""
    db = Database(tmp_path / "wetread.db")
    with db.transaction() as tx:
        tx.run(
            "INSERT INTO studies (id, study_instance_uid, folder, attributes, state, created_at, updated_at)"
            " VALUES (1, '1.2', 'f', '{}', 'complete', :now, :now)",
            {"now": now()},
        )
        tx.run(
            "INSERT INTO revisions (id, study_id, number, digest, reason, created_at, routed_at)"
            " VALUES (1, 1, 1, 'd', 'quiet', :now, :now)",
            {"now": now()},
        )
        tx.run(
            "INSERT INTO jobs (id, study_id, revision_id, route, mode, destinations, bundle, bundle_version,"
            " bundle_digest, bundle_folder, chosen, input_digest, config_digest, state, available_at, created_at)"
            " VALUES ('j', 1, 1, 'r', 'live', '[]', 'b', '1', 'd', '/', '[]', 'x', '', 'done', :now, :now)",
            {"now": now()},
        )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        fields = {"path": path.relative_to(tmp_path).as_posix(), "sha256": digest}
        tx.run("INSERT INTO results VALUES ('1.5', 'j', 0, 'SEG', '1', '1', '1', :path, :sha256)", fields)
        tx.run(
            "INSERT INTO outbox (job_id, sop_instance_uid, destination, state, available_at)"
            " VALUES ('j', '1.5', 'f', 'pending', :now)",
            {"now": now()},
        )
    return db


def _delivery(db: Database, tmp_path: Path, target: Path) -> Delivery:
    destination = open_destination(DestinationSettings("f", "folder", path=str(target)), None)
    settings = DeliverySettings(first_delay_s=0.0, max_delay_s=0.0)
    return Delivery("f", destination, db=db, data_folder=tmp_path, settings=settings)


def test_outbox_keeps_what_was_not_taken_and_forgets_what_was(tmp_path: Path, paths: list[Path]) -> None:
    db = _outbox(tmp_path, paths[0])
    in_the_way = tmp_path / "target"
    in_the_way.write_text("")
    delivery = _delivery(db, tmp_path, in_the_way)
    assert delivery.deliver_due()
    (row,) = db.fetch("SELECT state, attempts, last_error FROM outbox")
    assert (row["state"], row["attempts"]) == ("pending", 1)
    assert "cannot be written" in row["last_error"]
    in_the_way.unlink()
    assert delivery.deliver_due()
    assert db.fetch("SELECT state FROM outbox")[0]["state"] == "delivered"
    assert not delivery.deliver_due()


def test_changed_result_file_is_never_sent(tmp_path: Path, paths: list[Path]) -> None:
    db = _outbox(tmp_path, paths[0])
    paths[0].write_bytes(paths[0].read_bytes() + b"\0")
    _delivery(db, tmp_path, tmp_path / "target").deliver_due()
    (row,) = db.fetch("SELECT state, last_error FROM outbox")
    assert row["state"] == "pending"
    assert "is not what was committed" in row["last_error"]
    assert not (tmp_path / "target").exists()


def test_failure_is_one_event_for_each_try_not_for_each_object(tmp_path: Path, paths: list[Path]) -> None:
    db = _outbox(tmp_path, paths[0])
    with db.transaction() as tx:
        tx.run("INSERT INTO results SELECT '1.6', job_id, 1, kind, '1', '1', '1', 'x', sha256 FROM results")
        tx.run(
            "INSERT INTO outbox (job_id, sop_instance_uid, destination, state, available_at)"
            " SELECT job_id, '1.6', destination, state, available_at FROM outbox"
        )
    in_the_way = tmp_path / "target"
    in_the_way.write_text("")
    delivery = _delivery(db, tmp_path, in_the_way)
    for _ in range(2):
        delivery.deliver_due()
    details = [r["detail"] for r in db.fetch("SELECT detail FROM events WHERE action = 'not_delivered'")]
    assert [d.partition(":")[0] for d in details] == ["2 objects to f, try 1", "2 objects to f, try 2"]


def test_result_about_to_be_superseded_waits(tmp_path: Path, paths: list[Path]) -> None:
    db = _outbox(tmp_path, paths[0])
    delivery = _delivery(db, tmp_path, tmp_path / "target")
    with db.transaction() as tx:
        tx.run(
            "INSERT INTO revisions (id, study_id, number, digest, reason, created_at, routed_at)"
            " VALUES (2, 1, 2, 'e', 'quiet', :now, :now)",
            {"now": now()},
        )
        tx.run(
            "INSERT INTO jobs (id, study_id, revision_id, route, mode, destinations, bundle, bundle_version,"
            " bundle_digest, bundle_folder, chosen, input_digest, config_digest, state, available_at, created_at)"
            " SELECT 'k', 1, 2, route, mode, destinations, bundle, bundle_version, bundle_digest, bundle_folder,"
            " chosen, 'y', '', 'running', available_at, created_at FROM jobs"
        )
    assert not delivery.deliver_due()
    with db.transaction() as tx:
        tx.run("UPDATE jobs SET state = 'rejected' WHERE id = 'k'")
    assert delivery.deliver_due()


@pytest.mark.parametrize("host", ["no-such-host.invalid"])
def test_host_that_cannot_be_resolved_is_said(paths: list[Path], host: str) -> None:
    destination = open_destination(DestinationSettings("d", "dicom", peer="pacs"), Remote(host, 104, "PACS"))
    with pytest.raises(DestinationUnavailable, match="the host name cannot be resolved"):
        destination.deliver(paths)


def test_held_study_is_not_sent(tmp_path: Path, paths: list[Path]) -> None:
    db = _outbox(tmp_path, paths[0])
    with db.transaction() as tx:
        tx.run("UPDATE studies SET state = 'held'")
    assert not _delivery(db, tmp_path, tmp_path / "target").deliver_due()
