"""Storage commitment for others: a modality asks us to vouch for its images, and an archive has to have them.

::

    to ask ──archive took our request──▶ asked ──its report──▶ to report ──peer heard it──▶ done
      ▲ └──it gives no answer: later──┘     │no report: ask again           └──not heard: later──┘

A modality may delete its images on our word, so our word is the archive's: success is reported only for instances for
which the archive reported success when we asked about the very same SOP Classes and Instances (PS3.4 Annex J). While it
has said nothing, we say nothing: the Standard sets no time for a report, and a modality that hears none keeps its
images. What is not known after a week is reported as failed.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydicom.uid import generate_uid

from wetread.db import Database, Queries, Row, Transaction
from wetread.deliver.delivery import TROUBLE_S
from wetread.deliver.destination import Commitment
from wetread.deliver.pace import Pace
from wetread.dimse.commitment import CommitmentReport, CommitmentRequest
from wetread.errors import DestinationUnavailable, Temporary
from wetread.records.numbers import number_of

logger = logging.getLogger(__name__)

PATIENCE_S = 7 * 86400.0
PROCESSING_FAILURE, DUPLICATE_TRANSACTION = 0x0110, 0x0131  # PS3.3 C.14.1.1
_KEPT_S = 30 * 86400.0

Tell = Callable[[CommitmentReport, Mapping[str, str]], None]
"""Report to a peer; SOP Class by SOP Instance UID. Raises ``DestinationUnavailable`` when it did not hear it."""


@dataclass(frozen=True, slots=True)
class Client:
    """A peer that may ask us."""

    archive: str
    """Name of the peer whose word counts."""
    commitment: Commitment
    """How that archive is asked."""
    tell: Tell


class Vouching:
    """Takes requests in, asks archives, reports. Its thread does the talking."""

    def __init__(self, db: Database, pace: Pace, clients: Mapping[str, Client]) -> None:
        """``clients``: by the name of their peer."""
        self._db = db
        self._pace = pace
        self._clock = pace.clock
        self._clients = clients
        self._queries = Queries("wetread.deliver")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vouching", daemon=True)

    def start(self) -> None:
        """Begin, if anybody may ask."""
        if self._clients:
            self._thread.start()

    def stop(self) -> None:
        """Finish the association under way, then end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def take(self, peer: str, request: CommitmentRequest) -> None:
        """A peer asked. The same request again is reported again; another one under its UID is reported as failed."""
        with self._db.transaction() as tx:
            tx.run(self._queries["forget_vouchers"], {"before": self._clock.stamp(-_KEPT_S)})
            key = {"peer": peer, "transaction_uid": request.transaction_uid}
            known = tx.fetch(self._queries["vouchers_of"], key)
            same = [row for row in known if _instances(row) == sorted(request.instances)]
            if not same:
                self._add(tx, peer, request, duplicate=bool(known))
            elif same[0]["state"] in ("done", "given up"):
                self._set(tx, same[0], "to report")

    def apply(self, peer: str, report: CommitmentReport) -> bool:
        """What an archive reported about one of our requests for others; whether it was one that is open."""
        rows = self._db.fetch(self._queries["voucher_asked"], {"archive_transaction_uid": report.transaction_uid})
        if not rows or not (client := self._clients.get(rows[0]["peer"])) or client.archive != peer:
            return False
        wanted = [uid for _, uid in _instances(rows[0])]
        reasons = dict(report.failed)
        committed = [uid for uid in wanted if uid in report.committed and uid not in reasons]
        failed = [[uid, reasons.get(uid) or PROCESSING_FAILURE] for uid in wanted if uid not in committed]
        self._answer(rows[0], {"committed": committed, "failed": failed})
        return True

    def work_due(self) -> bool:
        """One step for one request that is due; whether there was one."""
        rows = self._db.fetch(self._queries["due_voucher"], self._window())
        if not rows:
            return False
        row = rows[0]
        client = self._clients.get(row["peer"])
        age_s = self._clock.age_s(row["asked_at"])
        if client is None or age_s > 2 * PATIENCE_S:
            why = "nobody answers there" if client else "it may not ask any more"
            self._give_up(row, why)
        elif row["state"] == "to report":
            self._report(row, client)
        elif age_s > PATIENCE_S:
            failed = [[uid, PROCESSING_FAILURE] for _, uid in _instances(row)]
            self._answer(row, {"committed": [], "failed": failed})
        else:
            self._ask(row, client)
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                busy = self.work_due()
            except Temporary as exc:
                logger.error("storage commitment requests cannot be read or written now: %s", exc)
                busy = self._stop.wait(TROUBLE_S)
            except Exception:  # a fault of ours: the request stays due and visible
                logger.exception("a storage commitment request cannot be worked on")
                busy = self._stop.wait(TROUBLE_S)
            if not busy:
                self._stop.wait(self._pace.settings.poll_s)
        self._db.close()

    def _add(self, tx: Transaction, peer: str, request: CommitmentRequest, *, duplicate: bool) -> None:
        failed = [[uid, DUPLICATE_TRANSACTION] for _, uid in request.instances]
        fields = {
            "peer": peer,
            "transaction_uid": request.transaction_uid,
            "instances": json.dumps(request.instances),
            "now": self._clock.stamp(),
            "state": "to report" if duplicate else "to ask",
            "answer": json.dumps({"committed": [], "failed": failed}) if duplicate else "",
        }
        tx.run(self._queries["add_voucher"], fields)
        archive = self._clients[peer].archive if peer in self._clients else "nobody"
        what = "the transaction UID of another request" if duplicate else f"{archive} is asked"
        tx.event("commitment_asked", f"{peer} asks about {number_of(len(request.instances), 'instance')}: {what}")

    def _ask(self, row: Row, client: Client) -> None:
        """Written down before it is sent: the report may come first."""
        ours = str(generate_uid(prefix=None))
        with self._db.transaction() as tx:
            tx.run(self._queries["voucher_asks"], {"id": row["id"], "archive_transaction_uid": ours})
            self._set(tx, row, "asked", wait_s=self._pace.settings.commitment_wait_s)
        try:
            report = client.commitment.ask(ours, _instances(row))
        except DestinationUnavailable as exc:
            self._later(row, "to ask", str(exc), asked_as=ours)
            return
        if report is not None:
            self.apply(client.archive, report)

    def _report(self, row: Row, client: Client) -> None:
        answer = json.loads(row["answer"])
        failed = tuple((uid, reason) for uid, reason in answer["failed"])
        report = CommitmentReport(row["transaction_uid"], tuple(answer["committed"]), failed)
        try:
            client.tell(report, {uid: sop_class for sop_class, uid in _instances(row)})
        except DestinationUnavailable as exc:
            self._later(row, "to report", str(exc))
            return
        with self._db.transaction() as tx:
            self._set(tx, row, "done")
            counts = f"{len(report.committed)} of {number_of(len(report.committed) + len(failed), 'instance')}"
            tx.event("commitment_told", f"{row['peer']} was told that {client.archive} has committed to {counts}")

    def _answer(self, row: Row, answer: Mapping[str, object]) -> None:
        """What the peer is told is known."""
        with self._db.transaction() as tx:
            tx.run(self._queries["voucher_answer"], {"id": row["id"], "answer": json.dumps(answer)})
            self._set(tx, row, "to report")

    def _give_up(self, row: Row, why: str) -> None:
        with self._db.transaction() as tx:
            self._set(tx, row, "given up", problem=why)
            tx.event("commitment_given_up", f"a storage commitment request of {row['peer']} is not answered: {why}")

    def _later(self, row: Row, state: str, problem: str, *, asked_as: str = "") -> None:
        """Again after a while; not if a report about ``asked_as``, our transaction, came meanwhile all the same."""
        if asked_as and not self._db.fetch(self._queries["voucher_asked"], {"archive_transaction_uid": asked_as}):
            return
        with self._db.transaction() as tx:
            wait_s = self._pace.delay_s(row["attempts"])
            self._set(tx, row, state, wait_s=wait_s, problem=problem, attempts=row["attempts"] + 1)

    def _set(
        self, tx: Transaction, row: Row, state: str, *, wait_s: float = 0.0, problem: str = "", attempts: int = 0
    ) -> None:
        fields = {"id": row["id"], "state": state, "available_at": self._clock.stamp(wait_s)}
        tx.run(self._queries["set_voucher"], fields | {"problem": problem, "attempts": attempts})

    def _window(self) -> dict[str, str]:
        # As in the outbox: what seems to be due later than any wait allows comes from a clock that was set back.
        longest_s = max(self._pace.longest_s, self._pace.settings.commitment_wait_s)
        return {"now": self._clock.stamp(), "latest": self._clock.stamp(longest_s + 1.0)}


def _instances(row: Row) -> list[tuple[str, str]]:
    """``(SOP class, SOP instance)``, sorted."""
    return sorted((sop_class, uid) for sop_class, uid in json.loads(row["instances"]))
