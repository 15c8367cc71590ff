"""Studies, revisions and route decisions as store and route leave them for the queue."""

from __future__ import annotations

import itertools
from pathlib import Path

from wetread.db import Database, now
from wetread.jobs.new_job import Chosen, NewJob, RouteDecision
from wetread.records.result import EncodedResult, Rendition
from wetread.records.study import Patient, StudyRef
from wetread.store.attributes import study_to_json

_NUMBER = itertools.count(1)


def add_study(db: Database, *, priority: int = 0) -> tuple[int, int]:
    """A study with one revision: ``(study id, revision id)``."""
    uid = f"1.2.{next(_NUMBER)}"
    fields = {"uid": uid, "attributes": study_to_json(StudyRef(uid, Patient("P"), ())), "priority": priority}
    with db.transaction() as tx:
        study_id = tx.fetch(
            "INSERT INTO studies (study_instance_uid, folder, attributes, state, priority, created_at, updated_at)"
            " VALUES (:uid, :uid, :attributes, 'complete', :priority, :now, :now) RETURNING id",
            fields | {"now": now()},
        )[0]["id"]
    return study_id, add_revision(db, study_id, 1)


def add_revision(db: Database, study_id: int, number: int) -> int:
    """A further revision; its id."""
    with db.transaction() as tx:
        return int(
            tx.fetch(
                "INSERT INTO revisions (study_id, number, digest, reason, attributes, created_at)"
                " SELECT :study_id, :number, 'd', 'quiet', attributes, :now FROM studies WHERE id = :study_id"
                " RETURNING id",
                {"study_id": study_id, "number": number, "now": now()},
            )[0]["id"]
        )


def decision(
    *inputs: str,
    mode: str = "live",
    destinations: tuple[str, ...] = ("pacs",),
    route: str = "r",
    bundle: str = "b",
    chosen: tuple[Chosen, ...] = (Chosen("image", "1.2.3", "fits"),),
) -> RouteDecision:
    """What a route says about a revision: one job for each input digest."""
    jobs = tuple(
        NewJob(route, mode, destinations, bundle, "1", f"digest of {bundle}", Path("/b"), chosen, digest)
        for digest in inputs
    )
    return RouteDecision(route, "read", "matches", ("v",), jobs)


def result(folder: Path, uid: str, rendition: Rendition = Rendition.COMMON) -> EncodedResult:
    """A result file that is only named."""
    path = folder / f"{uid}.dcm"
    return EncodedResult("SEG", "1.2.3", uid, "1.9", "1.2.840.10008.1.2.1", path, "0" * 64, rendition)
