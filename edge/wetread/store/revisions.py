"""Revisions: a study at the moment it counted as complete, as an immutable set of instances.

A revision also keeps what the study said of its patient then, with what a person put right.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from wetread.db import Database, Queries, Row, Transaction, now
from wetread.records.numbers import number_of
from wetread.records.study import Correction, InstanceRef, StudyRef, correct
from wetread.store.attributes import film_from_json, series_from_json, study_from_json, study_to_json
from wetread.store.completeness import CompletenessSettings, Evidence
from wetread.store.receiving import NO_SOURCES, EvidenceSources, Receiving
from wetread.store.spool import Spool


@dataclass(frozen=True, slots=True)
class Revision:
    """One immutable state of a study."""

    revision_id: int
    study_id: int
    number: int
    study: StudyRef


class Revisions:
    """Decide when studies are complete and keep what they consisted of."""

    def __init__(
        self,
        db: Database,
        spool: Spool,
        settings: CompletenessSettings,
        *,
        sources: EvidenceSources = NO_SOURCES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._spool = spool
        self._authorities = sources.authorities
        self._queries = Queries("wetread.store")
        self._receiving = Receiving(db, settings, sources, clock=clock)

    @property
    def spool_folder(self) -> Path:
        """What the paths of instances are relative to."""
        return self._spool.folder

    def changed(self, study_ids: Iterable[int]) -> None:
        """Source instances of these studies arrived just now."""
        self._receiving.arrived(study_ids)

    def close_complete(self) -> int:
        """Close every study that is complete by the evidence there is; how many new revisions that made."""
        made = 0
        for study_id, verdict in self._receiving.complete():
            with self._db.transaction() as tx:
                made += self.close_study(tx, study_id, evidence=verdict.evidence, reason=verdict.reason)
            self._receiving.forget(study_id)
        return made

    def lose_associations(self, *, before: str, prefix: str = "") -> int:
        """Associations that were open when their process ended are lost; how many. ``before``: ISO 8601, UTC.

        ``prefix``: only those whose names begin so.
        """
        with self._db.transaction() as tx:
            return tx.run(self._queries["lose_associations"], {"before": before, "prefix": prefix, "now": now()})

    def stop_asking(self) -> None:
        """Ask nobody for counts any more."""
        self._receiving.close()

    def unrouted(self) -> list[Revision]:
        """Revisions no route has spoken about yet, oldest first; held studies wait."""
        return [self.load(int(row["id"])) for row in self._db.fetch(self._queries["unrouted_revisions"])]

    def load(self, revision_id: int) -> Revision:
        """A revision with its study as it was then."""
        row = self._db.fetch(self._queries["revision"], {"revision_id": revision_id})[0]
        key = {"revision_id": revision_id, "study_id": row["study_id"]}
        by_series: dict[str, list[InstanceRef]] = {}
        for instance in self._db.fetch(self._queries["revision_instances"], key):
            by_series.setdefault(instance["series_instance_uid"], []).append(self._instance(instance))
        series = tuple(
            series_from_json(s["attributes"], tuple(by_series[s["series_instance_uid"]]))
            for s in self._db.fetch(self._queries["revision_series"], key)
        )
        study = study_from_json(row["attributes"], series)
        return Revision(revision_id, int(row["study_id"]), int(row["number"]), study)

    def close_study(self, tx: Transaction, study_id: int, *, evidence: Evidence, reason: str) -> int:
        """A new revision of a receiving study, if what it says is new; 1 or 0."""
        studies = tx.fetch(self._queries["study_by_id"], {"study_id": study_id})
        if not studies or studies[0]["state"] != "receiving":
            return 0
        instances = tx.fetch(self._queries["source_instances"], {"study_id": study_id})
        if not instances:
            self._set_state(tx, study_id, "complete", "only results and other derived objects, nothing to read")
            tx.event("complete", "no images, nothing to read", study_id=study_id)
            return 0
        attributes = corrected_attributes(studies[0])
        digest = _digest(instances, attributes)
        last = tx.fetch(self._queries["last_revision"], {"study_id": study_id})
        if last and last[0]["digest"] == digest:
            self._set_state(tx, study_id, "complete", "")
            return 0
        if self._lost_to_retention(tx, study_id, instances) or self._half_corrected(tx, study_id):
            return 0
        self._set_state(tx, study_id, "complete", "")
        number = int(last[0]["number"]) + 1 if last else 1
        fields = {"study_id": study_id, "number": number, "digest": digest, "attributes": attributes, "now": now()}
        fields |= {"evidence": evidence, "reason": reason}
        revision_id = tx.fetch(self._queries["add_revision"], fields)[0]["id"]
        rows = [{"revision_id": revision_id, "instance_id": i["id"]} for i in instances]
        tx.run_many(self._queries["add_revision_instance"], rows)
        tx.event("complete", f"revision {number}: {number_of(len(instances), 'instance')}, {reason}", study_id=study_id)
        return 1

    def _lost_to_retention(self, tx: Transaction, study_id: int, instances: list[Row]) -> bool:
        """A read of the late part alone would be half a read."""
        removed = sum(i["removed_at"] is not None for i in instances)
        if removed:
            lost = f"{removed} of {number_of(len(instances), 'image')} were removed by retention before late ones came"
            self._set_state(tx, study_id, "held", f"{lost}; send the study again, then release it")
            tx.event("held", lost, study_id=study_id)
        return bool(removed)

    def _half_corrected(self, tx: Transaction, study_id: int) -> bool:
        """An authority said another patient for some of the images, and has not sent the others: whose are they?"""
        key = {"study_id": study_id}
        if not tx.fetch(self._queries["patient_changed"], key):
            return False
        left = sum(row["n"] for row in tx.fetch(self._queries["senders"], key) if row["peer"] not in self._authorities)
        if left:
            still = number_of(left, "image still says", "images still say")
            reason = f"instances of two patients in one study: {still} the former one"
            self._set_state(tx, study_id, "held", f"{reason}; have the authority send the whole study, or correct it")
            tx.event("held", reason, study_id=study_id)
        return bool(left)

    def _set_state(self, tx: Transaction, study_id: int, state: str, reason: str) -> None:
        tx.run(self._queries["set_state"], {"study_id": study_id, "state": state, "reason": reason, "now": now()})

    def _instance(self, row: Row) -> InstanceRef:
        return InstanceRef(
            sop_instance_uid=row["sop_instance_uid"],
            sop_class_uid=row["sop_class_uid"],
            path=self._spool.folder / row["path"],
            digest=row["content_digest"],
            instance_number=row["instance_number"],
            in_spool=True,
            film=film_from_json(row["film"]),
        )


def corrected_attributes(study: Row) -> str:
    """JSON of what the study says of itself, with what a person put right."""
    if not study["correction"]:
        return str(study["attributes"])
    return study_to_json(correct(study_from_json(study["attributes"]), Correction(**json.loads(study["correction"]))))


def _digest(instances: list[Row], attributes: str) -> str:
    """Over the content of the source instances and, where a person put something right, what the study then says."""
    digest = hashlib.sha256("".join(i["content_digest"] for i in instances).encode())
    if study_from_json(attributes).correction is not None:
        digest.update(attributes.encode())
    return digest.hexdigest()
