"""Storage commitment requests and what becomes of them: one transaction for each request, kept in the database.

The request is written down before it is sent: its report may come while we still wait for the answer to the request, on
another association, after a restart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.uid import generate_uid

from wetread.db import Database, Queries, Row, now
from wetread.deliver.destination import Commitment
from wetread.deliver.outbox import Outbox
from wetread.deliver.pace import Clock
from wetread.dimse.commitment import CLASS_INSTANCE_CONFLICT, NO_SUCH_OBJECT, CommitmentReport
from wetread.errors import DestinationUnavailable

_NOT_THERE = (NO_SUCH_OBJECT, CLASS_INSTANCE_CONFLICT)
_REASONS = {
    0x0110: "processing failure",
    0x0112: "no such object",
    0x0119: "class and instance conflict",
    0x0122: "SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    outbox_ids: frozenset[int]
    asked_at: str
    answered: bool

    def is_open(self, clock: Clock, wait_s: float) -> bool:
        """Whether its report may still come."""
        return not self.answered and 0 <= clock.age_s(self.asked_at) < wait_s


class Commitments:
    """The requests to one destination."""

    def __init__(self, outbox: Outbox, db: Database, clock: Clock) -> None:
        self._outbox = outbox
        self._db = db
        self._clock = clock
        self._queries = Queries("wetread.deliver")

    def asked(self, rows: Sequence[Row]) -> list[Asked]:
        """All requests there were for any of these."""
        key = {"destination": self._outbox.destination, "ids": json.dumps([row["id"] for row in rows])}
        return [
            Asked(frozenset(json.loads(r["outbox_ids"])), r["asked_at"], r["answered_at"] is not None)
            for r in self._db.fetch(self._queries["commitments_asked"], key)
        ]

    def ask(self, commitment: Commitment, rows: Sequence[Row]) -> None:
        """Send one request; its report is applied if it comes at once. Raises: ``DestinationUnavailable``."""
        transaction_uid = str(generate_uid(prefix=None))
        fields = {
            "transaction_uid": transaction_uid,
            "destination": self._outbox.destination,
            "outbox_ids": json.dumps([row["id"] for row in rows]),
            "now": self._clock.stamp(),
        }
        with self._db.transaction() as tx:
            tx.run(self._queries["ask_commitment"], fields)
        try:
            report = commitment.ask(transaction_uid, [(r["sop_class_uid"], r["sop_instance_uid"]) for r in rows])
        except DestinationUnavailable:
            with self._db.transaction() as tx:
                tx.run(self._queries["not_asked"], {"transaction_uid": transaction_uid})
            raise
        if report is not None:
            apply_report(self._db, report, outboxes={self._outbox.destination: self._outbox})


def apply_report(db: Database, report: CommitmentReport, *, outboxes: Mapping[str, Outbox]) -> bool:
    """Do what a report says; whether it answered a request to one of these destinations that was still open.

    Only what the report itself names is believed, and only about objects of the request.
    """
    queries = Queries("wetread.deliver")
    found = db.fetch(queries["commitment"], {"transaction_uid": report.transaction_uid})
    if not found or found[0]["answered_at"] is not None or found[0]["destination"] not in outboxes:
        return False
    outbox = outboxes[found[0]["destination"]]
    rows = db.fetch(queries["outbox_rows"], {"ids": found[0]["outbox_ids"]})
    unverified = [r for r in rows if r["state"] == "delivered" and not r["verified"]]
    failed = dict(report.failed)
    committed = [r for r in unverified if r["sop_instance_uid"] in report.committed]
    committed = [r for r in committed if r["sop_instance_uid"] not in failed]
    missing = [r for r in unverified if failed.get(r["sop_instance_uid"]) in _NOT_THERE]
    if committed:
        outbox.set_verified(committed, "commitment", "it has committed to store them")
    if missing:
        outbox.set_missing(missing, "it says so in a storage commitment report")
    for row in unverified:
        if row not in committed and row not in missing:
            outbox.note_unverified([row], _not_committed(failed.get(row["sop_instance_uid"])))
    with db.transaction() as tx:
        fields = {"transaction_uid": report.transaction_uid, "now": now(), "failed": json.dumps(failed)}
        tx.run(queries["commitment_answered"], fields)
    return True


def _not_committed(reason: int | None) -> str:
    if reason is None:
        return "not verified yet: the storage commitment report does not name it"
    return f"not verified yet: not committed, reason 0x{reason:04X} {_REASONS.get(reason, '')}".rstrip()
