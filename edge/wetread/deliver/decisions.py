"""What a person decides about results: let held ones go, take back what was not sent yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wetread.db import Database, Queries, Row, now
from wetread.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Choice:
    """Which results: of a job (its id or the beginning of it), of a study, or all; at one destination or at all."""

    target: str
    """A job id, a Study Instance UID, or '' for all."""
    destination: str = ""


@dataclass(frozen=True, slots=True)
class AtDestination:
    """Objects a destination has already."""

    destination: str
    series_instance_uid: str
    sop_instance_uids: tuple[str, ...]
    since: str
    """ISO 8601, UTC: when the first of them was taken."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a recall could do, and what it could not."""

    withdrawn: int
    there: tuple[AtDestination, ...]


class Decisions:
    """Changes of the outbox on a person's word; each is an event with the person's name and reason."""

    def __init__(self, db: Database, person: str) -> None:
        self._db = db
        self._person = person
        self._queries = Queries("wetread.deliver")

    def release(self, choice: Choice, reason: str) -> int:
        """Let held results go; how many objects. What was confirmed does not hold them again, anything else does.

        Raises: ``Misconfigured`` when none of them is held.
        """
        held = [row for row in self._chosen(choice) if row["state"] == "held"]
        if not held:
            raise Misconfigured(f"no result of {choice.target or 'any study'} is held; see: wetread results list")
        with self._db.transaction() as tx:
            for row in held:
                tx.run(self._queries["release"], {"id": row["id"], "now": now()})
            for study_id, job_id, why in sorted({(r["study_id"], r["job_id"], r["hold_reason"]) for r in held}):
                detail = f"by {self._person}: {reason} (was held: {why})"
                tx.event("result_released", detail, study_id=study_id, job_id=job_id)
        return len(held)

    def recall(self, choice: Choice, reason: str) -> Recalled:
        """Withdraw what was not delivered yet; say what was. Raises: ``Misconfigured`` when there is neither."""
        rows = self._chosen(choice)
        withdrawn = [row for row in rows if row["state"] in ("pending", "held")]
        delivered = [row for row in rows if row["state"] == "delivered"]
        if not withdrawn and not delivered:
            raise Misconfigured(f"there are no results of {choice.target} to take back; see: wetread results list")
        with self._db.transaction() as tx:
            # Counted by what the database says now: a destination may take one while we decide.
            fields = {"reason": f"recalled by {self._person}: {reason}"}
            count = sum(tx.run(self._queries["recall"], {"id": row["id"], **fields}) for row in withdrawn)
            for study_id, job_id in sorted({(r["study_id"], r["job_id"]) for r in rows}):
                detail = f"by {self._person}: {reason} ({count} objects not sent, {len(delivered)} had been delivered)"
                tx.event("recalled", detail, study_id=study_id, job_id=job_id)
        return Recalled(count, _there(delivered))

    def _chosen(self, choice: Choice) -> list[Row]:
        target = choice.target
        is_job = bool(target) and "." not in target
        key = {
            "every": not target,
            "job": f"{target}*" if is_job else "",
            "study": target,
            "destination": choice.destination,
        }
        rows = self._db.fetch(self._queries["chosen_by_person"], key)
        jobs = {row["job_id"] for row in rows}
        if is_job and len(jobs) > 1:
            raise Misconfigured(f"{len(jobs)} jobs begin with {target}; see: wetread jobs list")
        if target and not rows:
            raise Misconfigured(f"there are no results of {target}; see: wetread results list")
        return rows


def _there(delivered: Sequence[Row]) -> tuple[AtDestination, ...]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in delivered:
        groups.setdefault((row["destination"], row["series_instance_uid"]), []).append(row)
    return tuple(
        AtDestination(destination, series, tuple(r["sop_instance_uid"] for r in rows), rows[0]["delivered_at"])
        for (destination, series), rows in groups.items()
    )
