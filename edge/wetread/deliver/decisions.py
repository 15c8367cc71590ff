"""What a person decides about results: let held ones go, try again now, take back what was not sent yet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wetread.db import Database, Queries, Row, now
from wetread.errors import Misconfigured
from wetread.records.numbers import number_of


@dataclass(frozen=True, slots=True)
class Choice:
    """Which results: of a job (its id or the beginning of it), of a study, or all; at one destination or at all."""

    target: str
    """A job id, a Study Instance UID, or '' for all."""
    destination: str = ""

    def __str__(self) -> str:
        return f"{self.target or 'any study'}{f' for {self.destination}' if self.destination else ''}"


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
            raise Misconfigured(f"no result of {choice} is held; see: wetread results list")
        with self._db.transaction() as tx:
            for row in held:
                tx.run(self._queries["release"], {"id": row["id"], "now": now()})
            for study_id, job_id, why in sorted({(r["study_id"], r["job_id"], r["hold_reason"]) for r in held}):
                said = f"{reason} (was held: {why})"  # for what a person said, if it was recalled before
                tx.event("result_released", f"by {self._person}", said=said, study_id=study_id, job_id=job_id)
        return len(held)

    def retry(self, choice: Choice, sop_instance_uid: str = "") -> int:
        """Try what waits without waiting longer, what was refused too; how many objects.

        What waits before one of them in its study goes too: reports refer to segmentations.
        Raises: ``Misconfigured`` when nothing of it waits to be sent.
        """
        chosen = [r for r in self._chosen(choice) if sop_instance_uid in ("", r["sop_instance_uid"])]
        waiting = [row for row in chosen if row["state"] == "pending"]
        if not waiting:
            held = sum(row["state"] == "held" for row in chosen)
            hint = (
                f"; {number_of(held, 'object is', 'objects are')} held: wetread results release"
                if held
                else "; see: wetread results list"
            )
            what = f"object {sop_instance_uid} of {choice}" if sop_instance_uid else str(choice)
            raise Misconfigured(f"nothing of {what} waits to be sent{hint}")
        if all(row["study_state"] == "held" for row in waiting):
            raise Misconfigured(f"the study of {choice} is held, so nothing of it is sent: wetread studies release")
        last = {(r["study_id"], r["destination"]): r["id"] for r in waiting}  # in the order of their ids
        with self._db.transaction() as tx:
            count = sum(tx.run(self._queries["try_now"], {"id": row["id"], "now": now()}) for row in waiting)
            for (study_id, destination), last_id in last.items():
                key = {"study_id": study_id, "destination": destination, "id": last_id, "now": now()}
                count += tx.run(self._queries["try_earlier"], key)
                tx.event("retry_asked", f"results for {destination}, by {self._person}", study_id=study_id)
        return count

    def delivered(self, choice: Choice) -> tuple[AtDestination, ...]:
        """What destinations have already."""
        rows = self._db.fetch(self._queries["chosen_by_person"], _key(choice))
        return _there([row for row in rows if row["state"] == "delivered"])

    def ask_again(self, destination: str) -> None:
        """Forget which rendition a destination negotiated: it is asked before its next object.

        Raises: ``Misconfigured`` when nothing was negotiated with it.
        """
        with self._db.transaction() as tx:
            key = {"destination": destination}
            if not tx.run(self._queries["negotiate_again"], key):
                rows = tx.fetch(self._queries["decided_rendition"], key)
                by_setting = bool(rows) and rows[0]["decided_by"] == "setting"
                why = "its rendition is a setting or goes with its kind" if by_setting else "it was not asked yet"
                raise Misconfigured(f"there is nothing to ask {destination} again: {why}")
            tx.event("negotiated", f"{destination} is asked again before its next object, by {self._person}")

    def recall(self, choice: Choice, reason: str) -> Recalled:
        """Withdraw what was not delivered yet; say what was. Raises: ``Misconfigured`` when there is neither."""
        rows = self._chosen(choice)
        withdrawn = [row for row in rows if row["state"] in ("pending", "held")]
        delivered = [row for row in rows if row["state"] == "delivered"]
        if not withdrawn and not delivered:
            raise Misconfigured(f"there are no results of {choice} to take back; see: wetread results list")
        with self._db.transaction() as tx:
            # Counted by what the database says now: a destination may take one while we decide.
            fields = {"reason": f"recalled by {self._person}: {reason}"}
            count = sum(tx.run(self._queries["recall"], {"id": row["id"], **fields}) for row in withdrawn)
            for study_id, job_id in sorted({(r["study_id"], r["job_id"]) for r in rows}):
                said = f"{reason} ({number_of(count, 'object')} not sent, {len(delivered)} had been delivered)"
                tx.event("recalled", f"by {self._person}", said=said, study_id=study_id, job_id=job_id)
        return Recalled(count, _there(delivered))

    def _chosen(self, choice: Choice) -> list[Row]:
        if choice.target and not re.fullmatch(r"[0-9A-Za-z.]+", choice.target):
            raise Misconfigured(f"{choice.target!r} is neither a job nor a study; see: wetread results list")
        rows = self._db.fetch(self._queries["chosen_by_person"], _key(choice))
        jobs = {row["job_id"] for row in rows}
        if _is_job(choice.target) and len(jobs) > 1:
            raise Misconfigured(f"{len(jobs)} jobs begin with {choice.target}; see: wetread jobs list")
        if not rows and (choice.target or choice.destination):
            raise Misconfigured(f"there are no results of {choice}; see: wetread results list")
        return rows


def _is_job(target: str) -> bool:
    return bool(target) and "." not in target


def _key(choice: Choice) -> dict[str, object]:
    target = choice.target
    job = f"{target}*" if _is_job(target) else ""
    return {"every": not target, "job": job, "study": target, "destination": choice.destination}


def _there(delivered: Sequence[Row]) -> tuple[AtDestination, ...]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in delivered:
        groups.setdefault((row["destination"], row["series_instance_uid"]), []).append(row)
    return tuple(
        AtDestination(destination, series, tuple(r["sop_instance_uid"] for r in rows), rows[0]["delivered_at"])
        for (destination, series), rows in groups.items()
    )
