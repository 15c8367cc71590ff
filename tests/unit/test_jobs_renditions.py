"""Which renditions a job encodes, and which one goes into the outbox of each destination."""

from __future__ import annotations

from pathlib import Path

import pytest

from queued import add_study, decision, result
from wetread.db import Database
from wetread.deliver.destination import DestinationSettings
from wetread.deliver.rendition import note_settings
from wetread.jobs.queue import ClaimedJob, Queue, RetrySettings
from wetread.records.job import JobOutcome, JobState
from wetread.records.result import Rendition

MODERN, COMMON = Rendition.MODERN, Rendition.COMMON
PACS = DestinationSettings("pacs", "dicom", peer="pacs")
OLD = DestinationSettings("old", "dicom", peer="old", rendition="common")
FOLDER = DestinationSettings("inbox", "folder", path="/x")


@pytest.fixture
def db(tmp_path: Path) -> Database:
    db = Database(tmp_path / "wetread.db")
    note_settings(db, [PACS, OLD, FOLDER])
    return db


@pytest.fixture
def queue(db: Database) -> Queue:
    return Queue(db, RetrySettings(), owner="me")


def claimed(db: Database, queue: Queue, *destinations: str, mode: str = "live") -> ClaimedJob:
    study_id, revision_id = add_study(db)
    decisions = [decision("x", destinations=destinations, mode=mode)]
    queue.enqueue(study_id=study_id, revision_id=revision_id, decisions=decisions)
    job = queue.claim()
    assert job is not None
    return job


def finish(queue: Queue, job: ClaimedJob, folder: Path, *renditions: Rendition) -> None:
    results = tuple(result(folder, f"{r}.{n}", r) for r in renditions for n in (1, 2))
    queue.finish(JobOutcome(job.job_id, JobState.DONE, results=results), data_folder=folder)


def outbox(db: Database) -> set[tuple[str, str]]:
    rows = db.fetch("SELECT destination, sop_instance_uid FROM outbox")
    return {(r["destination"], r["sop_instance_uid"]) for r in rows}


def negotiate(db: Database, rendition: Rendition) -> None:
    with db.transaction() as tx:
        tx.run("UPDATE destination_renditions SET rendition = ? WHERE destination = 'pacs'", [rendition.value])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("destinations", "mode", "renditions"),
    [
        (("old",), "live", (COMMON,)),
        (("inbox",), "live", (MODERN,)),
        (("old", "inbox"), "live", (MODERN, COMMON)),
        (("pacs",), "live", (MODERN, COMMON)),
        (("pacs",), "shadow", (COMMON,)),
        (("removed",), "live", (COMMON,)),
    ],
)
def test_job_encodes_what_its_destinations_take_and_both_where_one_was_not_asked_yet(
    db: Database, queue: Queue, destinations: tuple[str, ...], mode: str, renditions: tuple[Rendition, ...]
) -> None:
    assert claimed(db, queue, *destinations, mode=mode).renditions == renditions


def test_once_asked_only_what_the_destination_takes_is_encoded(db: Database, queue: Queue) -> None:
    negotiate(db, MODERN)
    assert claimed(db, queue, "pacs").renditions == (MODERN,)


def test_each_destination_gets_one_rendition(db: Database, queue: Queue, tmp_path: Path) -> None:
    job = claimed(db, queue, "pacs", "old", "inbox")
    finish(queue, job, tmp_path, *job.renditions)
    common, modern = ("common.1", "common.2"), ("modern.1", "modern.2")
    wanted = {("pacs", common), ("old", common), ("inbox", modern)}
    assert outbox(db) == {(destination, uid) for destination, uids in wanted for uid in uids}


def test_what_was_negotiated_while_the_job_ran_counts(db: Database, queue: Queue, tmp_path: Path) -> None:
    job = claimed(db, queue, "pacs")
    negotiate(db, MODERN)
    finish(queue, job, tmp_path, *job.renditions)
    assert outbox(db) == {("pacs", "modern.1"), ("pacs", "modern.2")}


def test_destination_never_goes_without_because_its_rendition_was_not_encoded(
    db: Database, queue: Queue, tmp_path: Path
) -> None:
    job = claimed(db, queue, "old")
    with db.transaction() as tx:
        tx.run("UPDATE destination_renditions SET rendition = 'modern'")
    finish(queue, job, tmp_path, *job.renditions)
    assert outbox(db) == {("old", "common.1"), ("old", "common.2")}
