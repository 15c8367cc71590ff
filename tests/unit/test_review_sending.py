"""What leaves when: results that wait for a signature, and what a person signed when the study changes afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from queued import add_revision, add_study, decision, result
from wetread.db import Database
from wetread.jobs.committing import commit_signed
from wetread.jobs.queue import Queue, RetrySettings
from wetread.records.job import JobOutcome, JobState
from wetread.records.result import EncodedResult


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "wetread.db")
    yield database
    database.close()


def read(
    db: Database, folder: Path, *inputs: str, study: tuple[int, int], send: str = "at once", uid: str = "1.5"
) -> str:
    """Route, read and commit one job of a study's revision: SEG, SR and SC."""
    queue = Queue(db, RetrySettings(first_delay_s=0.0), owner="test")
    asked = decision(*inputs)
    jobs = tuple(dataclasses.replace(job, send=send) for job in asked.jobs)
    queue.enqueue(study_id=study[0], revision_id=study[1], decisions=[dataclasses.replace(asked, jobs=jobs)])
    job = queue.claim()
    assert job is not None
    kinds = [dataclasses.replace(result(folder, f"{uid}.{n}"), kind=kind) for n, kind in enumerate(("SEG", "SR", "SC"))]
    queue.finish(JobOutcome(job.job_id, JobState.DONE, results=tuple(kinds)), data_folder=folder)
    return job.job_id


def sign(db: Database, folder: Path, job_id: str, *kinds: str) -> list[EncodedResult]:
    """Objects of these kinds, in sending order; a report if none are named."""
    signed = [
        dataclasses.replace(result(folder, f"9.{n}.{job_id}"), kind=kind) for n, kind in enumerate(kinds or ("SR",))
    ]
    queue = Queue(db, RetrySettings(), owner="test")
    with db.transaction() as tx:
        tx.run(
            "INSERT INTO sign_offs (id, job_id, version, reader, organization, signed_at)"
            " VALUES ('s' || :job, :job, 1, 'Doe^Jane', 'H', '2026-03-01')",
            {"job": job_id},
        )
        row = tx.fetch("SELECT * FROM jobs WHERE id = :job", {"job": job_id})[0]
        commit_signed(tx, queue._queries, row, signed, sign_off_id=f"s{job_id}", data_folder=folder)
    return signed


def outbox(db: Database) -> dict[str, str]:
    rows = db.fetch("SELECT o.sop_instance_uid, o.state FROM outbox o ORDER BY o.id")
    return {r["sop_instance_uid"]: r["state"] for r in rows}


@pytest.mark.parametrize("kinds", [("SEG", "SR"), ("SR",)], ids=["something accepted", "nothing accepted"])
def test_route_that_waits_for_a_signature_sends_what_was_signed_and_nothing_else(
    db: Database, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    job = read(db, tmp_path, "a", study=add_study(db), send="after signing")
    assert outbox(db) == {}
    signed = sign(db, tmp_path, job, *kinds)
    assert list(outbox(db)) == [s.sop_instance_uid for s in signed], "the segmentation first, then what refers to it"


def test_what_was_signed_goes_out_although_a_newer_read_takes_its_place(db: Database, tmp_path: Path) -> None:
    study, first = add_study(db)
    job = read(db, tmp_path, "a", study=(study, first))
    (signed,) = sign(db, tmp_path, job)
    read(db, tmp_path, "b", study=(study, add_revision(db, study, 2)), uid="1.6")
    assert outbox(db) | {"1.5.1": "withdrawn", signed.sop_instance_uid: "pending", "1.6.1": "pending"} == outbox(db)
    (row,) = db.fetch("SELECT g.superseded_at, j.superseded_by FROM sign_offs g JOIN jobs j ON j.id = g.job_id")
    assert row["superseded_at"]
    assert row["superseded_by"]


def test_what_was_signed_for_another_patient_is_withdrawn(db: Database, tmp_path: Path) -> None:
    study, first = add_study(db)
    (signed,) = sign(db, tmp_path, read(db, tmp_path, "a", study=(study, first)))
    second = add_revision(db, study, 2)
    with db.transaction() as tx:
        tx.run("UPDATE revisions SET attributes = replace(attributes, '\"P\"', '\"Q\"') WHERE id = :id", {"id": second})
    read(db, tmp_path, "b", study=(study, second), uid="1.6")
    assert outbox(db)[signed.sop_instance_uid] == "withdrawn"


def test_preliminary_report_never_takes_the_place_of_a_signed_one(db: Database, tmp_path: Path) -> None:
    study, first = add_study(db)
    job = read(db, tmp_path, "a", study=(study, first))
    sign(db, tmp_path, job)
    with db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'delivered', verified = 'status'")
    queue = Queue(db, RetrySettings(), owner="test")
    second = add_revision(db, study, 2)
    queue.enqueue(study_id=study, revision_id=second, decisions=[decision("b")])
    claimed = queue.claim()
    assert claimed is not None
    assert [r.sop_instance_uid for r in queue.supersedes(claimed.job_id)] == ["1.5.1"]
