"""Reviews in the database: each decision, hold and sign-off is one transaction with its row in the events table.

A decision that was answered is on disk. The same decision id twice is one decision, so a reader's program may send what
it is not sure about again, after a crash of either side.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from wetread.db import Database, Queries, Row, Transaction, now
from wetread.errors import AlreadySigned, Conflict, HeldByAnother, NotHere, NotPossible, ReviewChanged, Undecided
from wetread.failpoint import failpoint
from wetread.review.decisions import Decision, DecisionRefused, Review, decide, opened, sign

_EVENTS = {
    "accept": "finding_accepted",
    "reject": "finding_rejected",
    "reset": "finding_reset",
    "comment": "finding_commented",
}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who decides at the moment."""

    reader: str
    since: str


@dataclass(frozen=True, slots=True)
class SignOff:
    """A person vouched for what was accepted."""

    id: str
    reader: str
    organization: str
    reader_id: str
    signed_at: str
    version: int
    """Of the review."""
    superseded_at: str = ""
    reports: tuple[tuple[str, str, str], ...] = ()
    """``(SOP Instance UID, Series Instance UID, rendition)`` of each; a destination gets one of them."""


@dataclass(frozen=True, slots=True)
class ReviewOfJob:
    """Everything about the review of one job."""

    job_id: str
    review: Review
    holder: Holder | None
    signed: SignOff | None
    is_superseded: bool
    """The study changed in what was read."""


@dataclass(frozen=True, slots=True)
class WantedSignOff:
    """What a reader asks to be signed."""

    reader: str
    organization: str
    reader_id: str = ""
    id: str = ""
    """UUID; the same one twice is one sign-off. Empty: one is made."""
    version: int | None = None
    """The review that the reader saw."""
    undecided_ok: bool = False


class Reviews:
    """What readers ask of the reviews of one data folder."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._queries = Queries("wetread.review")

    def get(self, job_id: str) -> ReviewOfJob:
        """The review of a read. Raises: ``NotHere``; ``Conflict`` when the read is not done."""
        with self._db.snapshot() as tx:
            return self._load(tx, self.job(tx, job_id))

    def hold(self, job_id: str, reader: str, *, take_over: bool = False) -> ReviewOfJob:
        """Let this reader decide. Raises: ``HeldByAnother`` unless ``take_over``; ``AlreadySigned``."""
        with self._db.transaction() as tx:
            row = self.job(tx, job_id)
            there = self._load(tx, row)
            _check_unsigned(there)
            if there.holder is None or there.holder.reader != reader:
                if there.holder is not None and not take_over:
                    raise _held(there.holder)
                tx.run(self._queries["hold"], {"job_id": job_id, "reader": reader, "now": now()})
                over = f", taken over from {there.holder.reader}" if there.holder is not None else ""
                tx.event("review_held", f"by {reader}{over}", study_id=row["study_id"], job_id=job_id)
            return self._load(tx, row)

    def let_go(self, job_id: str, reader: str) -> None:
        """Let others decide; nothing happens when this reader does not hold it. Raises: ``NotHere``."""
        with self._db.transaction() as tx:
            row = self.job(tx, job_id)
            holder = self._holder(tx, job_id)
            if holder is not None and holder.reader == reader:
                tx.run(self._queries["let_go"], {"job_id": job_id})
                tx.event("review_let_go", f"by {reader}", study_id=row["study_id"], job_id=job_id)

    def decide(self, job_id: str, reader: str, decisions: Sequence[Decision]) -> ReviewOfJob:
        """Take decisions down, all or none; those with a known id were taken before.

        Raises: ``HeldByAnother``, ``AlreadySigned``, ``Conflict`` when the read is superseded, ``NotPossible`` for what
        is no decision about this read.
        """
        with self._db.transaction() as tx:
            row = self.job(tx, job_id)
            there = self._load(tx, row)
            new = [d for d in _once(decisions) if not self._is_known(tx, job_id, d)]
            if new:
                _check_unsigned(there)
                if there.is_superseded:
                    raise Conflict("the study changed after this read, so it is superseded; decide on the newer read")
                if there.holder is None or there.holder.reader != reader:
                    raise _held(there.holder)
            review = there.review
            for decision in new:
                try:
                    review = decide(review, decision)
                except DecisionRefused as exc:
                    raise NotPossible(str(exc)) from exc
                self._record(tx, row, decision, review.version)
            after = self._load(tx, row)
        failpoint("review.decided")
        return after

    def check_sign(self, tx: Transaction, job_id: str, wanted: WantedSignOff) -> ReviewOfJob:
        """Whether this can be signed now; a review with ``signed`` set was signed by the same request before.

        Raises: ``AlreadySigned``, ``HeldByAnother``, ``ReviewChanged``, ``Undecided``, ``Conflict``.
        """
        row = self.job(tx, job_id)
        there = self._load(tx, row)
        if there.signed is not None and wanted.id and there.signed.id == wanted.id:
            return there
        _check_unsigned(there)
        if there.holder is None or there.holder.reader != wanted.reader:
            raise _held(there.holder)
        if wanted.version is not None and wanted.version != there.review.version:
            raise ReviewChanged(
                f"the review changed meanwhile: it is at version {there.review.version}, not {wanted.version};"
                " look at it again, then sign"
            )
        if row["mode"] == "shadow":
            raise Conflict(
                f"route {row['route']} is in shadow: its reads are looked at and compared, not reported and not signed"
            )
        if there.is_superseded:
            raise Conflict("the study changed after this read, so it is superseded and cannot be signed; read it again")
        if row["study_is_changing"]:
            raise Conflict("more images of this study came or were corrected; wait a moment, then look again")
        try:
            sign(there.review, undecided_ok=wanted.undecided_ok)
        except DecisionRefused as exc:
            raise Undecided(str(exc)) from exc
        return there

    def record_sign_off(self, tx: Transaction, job_id: str, sign_off: SignOff) -> None:
        """Take the sign-off down; the caller commits the reports in the same transaction."""
        row = self.job(tx, job_id)
        fields = {
            "id": sign_off.id,
            "job_id": job_id,
            "version": sign_off.version,
            "reader": sign_off.reader,
            "organization": sign_off.organization,
            "reader_id": sign_off.reader_id,
            "signed_at": sign_off.signed_at,
        }
        tx.run(self._queries["add_sign_off"], fields)
        tx.run(self._queries["let_go"], {"job_id": job_id})
        detail = f"by {sign_off.reader}, the review of version {sign_off.version}"
        tx.event("signed", detail, study_id=row["study_id"], job_id=job_id)

    def job(self, tx: Transaction, job_id: str) -> Row:
        """The job with what its review needs. Raises: ``NotHere``; ``Conflict`` when it is not done."""
        rows = tx.fetch(self._queries["job"], {"job_id": job_id})
        if not rows:
            raise NotHere(f"no job {job_id}; see: wetread jobs list")
        if rows[0]["state"] != "done":
            reason = f": {rows[0]['reason']}" if rows[0]["reason"] else ""
            raise Conflict(f"job {job_id} is {rows[0]['state']}{reason}; only a read that is done can be reviewed")
        return rows[0]

    def _load(self, tx: Transaction, row: Row) -> ReviewOfJob:
        key = {"job_id": row["id"]}
        review = opened(f["tracking_uid"] for f in json.loads(row["report"]).get("findings", ()))
        for taken in tx.fetch(self._queries["decisions"], key):
            review = decide(review, Decision(**dict(taken)))
        signed = self._signed(tx, row["id"])
        if signed is not None:
            review = sign(review, undecided_ok=True)
        return ReviewOfJob(row["id"], review, self._holder(tx, row["id"]), signed, bool(row["superseded_at"]))

    def _signed(self, tx: Transaction, job_id: str) -> SignOff | None:
        for row in tx.fetch(self._queries["sign_off"], {"job_id": job_id}):
            reports = tx.fetch(self._queries["signed_reports"], {"id": row["id"]})
            return SignOff(
                id=row["id"],
                reader=row["reader"],
                organization=row["organization"],
                reader_id=row["reader_id"],
                signed_at=row["signed_at"],
                version=int(row["version"]),
                superseded_at=row["superseded_at"],
                reports=tuple((r["sop_instance_uid"], r["series_instance_uid"], r["rendition"]) for r in reports),
            )
        return None

    def _holder(self, tx: Transaction, job_id: str) -> Holder | None:
        rows = tx.fetch(self._queries["holder"], {"job_id": job_id})
        return Holder(rows[0]["reader"], rows[0]["since"]) if rows else None

    def _is_known(self, tx: Transaction, job_id: str, decision: Decision) -> bool:
        rows = tx.fetch(self._queries["decision"], {"id": decision.id})
        if rows and (rows[0]["job_id"], rows[0]["tracking_uid"]) != (job_id, decision.tracking_uid):
            raise NotPossible(f"decision {decision.id} was taken before, about another finding; ids are used once")
        return bool(rows)

    def _record(self, tx: Transaction, row: Row, decision: Decision, version: int) -> None:
        fields = {
            "id": decision.id,
            "job_id": row["id"],
            "number": version,
            "tracking_uid": decision.tracking_uid,
            "action": decision.action,
            "comment": decision.comment,
            "reader": decision.reader,
            "at": decision.at,
            "now": now(),
        }
        tx.run(self._queries["add_decision"], fields)
        detail = f"{decision.tracking_uid} by {decision.reader}"
        where = {"study_id": row["study_id"], "job_id": row["id"]}
        tx.event(_EVENTS[decision.action], detail, said=decision.comment or "", **where)


def new_id(wanted: WantedSignOff) -> str:
    """The sign-off's UUID. Raises: ``NotPossible`` when the one asked for is none."""
    try:
        return str(uuid.UUID(wanted.id)) if wanted.id else str(uuid.uuid4())
    except ValueError as exc:
        raise NotPossible(f"the id of a sign-off must be a UUID, got {wanted.id!r}") from exc


def _once(decisions: Sequence[Decision]) -> list[Decision]:
    return list({d.id: d for d in reversed(decisions)}.values())[::-1]


def _check_unsigned(there: ReviewOfJob) -> None:
    if there.signed is not None:
        raise AlreadySigned(f"signed by {there.signed.reader} at {there.signed.signed_at}; that is final")


def _held(holder: Holder | None) -> HeldByAnother:
    if holder is None:
        return HeldByAnother("nobody holds this review; take it first, then decide")
    said = f"{holder.reader} has held this review since {holder.since}; ask, or take it over"
    return HeldByAnother(said, reader=holder.reader, since=holder.since)
