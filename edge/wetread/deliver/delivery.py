"""The thread that empties one destination's outbox. Destinations never wait for each other.

A destination that cannot be reached is left alone for a while as a whole. A study whose objects fail waits by itself,
so that one object that breaks every association does not stop the others.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wetread.db import Database, Row
from wetread.deliver.destination import Answer, Archive, Destination, Outcome
from wetread.deliver.hold import too_old, wrong_patient
from wetread.deliver.outbox import Outbox
from wetread.deliver.pace import Pace
from wetread.deliver.rendition import Negotiation
from wetread.deliver.verification import Verification, Verify
from wetread.errors import DestinationUnavailable, Temporary
from wetread.failpoint import failpoint

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """What this destination's settings ask for."""

    verify: Verify = "auto"
    unknown_study: Literal["send", "hold"] = "send"


_ASK_AHEAD_S = 60.0
"""Between two questions for the rendition before there is anything to send; the first delivery asks in any case."""

TROUBLE_S = 5.0
"""Until the next look after a look failed: a broken disk must not fill the log."""

_DEFAULT_POLICY = DeliveryPolicy()
NOBODY: Mapping[str, Archive] = {}


class Delivery:
    """One destination's thread."""

    def __init__(
        self,
        name: str,
        destination: Destination,
        *,
        db: Database,
        data_folder: Path,
        pace: Pace,
        policy: DeliveryPolicy = _DEFAULT_POLICY,
        witnesses: Mapping[str, Archive] = NOBODY,
    ) -> None:
        """``witnesses``: by name, the other destinations that can be asked whose study it is."""
        self._name = name
        self._destination = destination
        self._db = db
        self._data_folder = data_folder
        self._pace = pace
        self._clock = pace.clock
        self._policy = policy
        self._witnesses = witnesses
        self._outbox = Outbox(name, db, pace)
        self._negotiation = Negotiation(name, destination.negotiator, db)
        self._verification = Verification(self._outbox, destination, policy.verify, db=db, pace=pace)
        self._away = 0
        self._away_until = self._ask_ahead_from = pace.clock.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"deliver-{name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the association under way, then end."""
        self._stop.set()
        self._thread.join()

    def deliver_due(self) -> bool:
        """Send what is due for one study, or verify one that was sent; whether there was anything."""
        if self._clock.monotonic() < self._away_until and not self._outbox.asked_now():
            return False
        due = self._outbox.due()
        if not due:
            self._ask_ahead()
            return self._verification.verify_due()
        self._deliver(due)
        return True

    def _ask_ahead(self) -> None:
        """While the first study comes in, find out which rendition it is to be encoded in. Who cannot be asked now is
        asked at the first delivery, which says so."""
        if self._clock.monotonic() < self._ask_ahead_from or not self._negotiation.is_wanted_soon():
            return
        self._ask_ahead_from = self._clock.monotonic() + _ASK_AHEAD_S
        with contextlib.suppress(DestinationUnavailable):
            self._negotiation.settle()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                busy = self.deliver_due()
            except Temporary as exc:
                logger.error("the outbox of %s cannot be read or written now: %s", self._name, exc)
                busy = self._stop.wait(TROUBLE_S)
            except Exception:  # a fault of ours: the entry is still due, and the other studies need this thread
                logger.exception("the outbox of %s cannot be worked on", self._name)
                busy = self._stop.wait(TROUBLE_S)
            if not busy:
                self._stop.wait(self._pace.settings.poll_s)
        self._db.close()

    def _deliver(self, due: Sequence[Row]) -> None:
        going = list(due)
        try:
            if self._negotiation.settle():
                going = self._outbox.due()
            going = self._undamaged(going)
            going = self._without_held(going)
            if going:
                answers = self._destination.deliver([self._data_folder / row["path"] for row in going])
                failpoint("result.sent")
                self._outbox.record(going, answers, verified=self._verification.proof)
                failpoint("result.delivered")
        except DestinationUnavailable as exc:
            self._leave_alone()
            self._failed(going, str(exc))
            self._outbox.forget_asked()
        except Temporary as exc:
            self._failed(going, str(exc))
        except Exception as exc:  # the outcome is recorded, and the thread must outlive it
            logger.exception("delivery to %s failed", self._name)
            self._failed(going, f"internal error: {type(exc).__name__}")
        else:
            self._away, self._away_until = 0, self._clock.monotonic()

    def _leave_alone(self) -> None:
        """Nobody is there: no study is tried for a while."""
        self._away_until = self._clock.monotonic() + self._pace.delay_s(self._away)
        self._away += 1

    def _failed(self, rows: Sequence[Row], error: str) -> None:
        self._outbox.record(rows, [Answer(Outcome.FAILED, error)] * len(rows), verified="")

    def _undamaged(self, rows: Sequence[Row]) -> list[Row]:
        """Set aside what is not what was committed; it stays visible."""
        problems = {row["id"]: problem for row in rows if (problem := self._problem(row))}
        damaged = [row for row in rows if row["id"] in problems]
        if damaged:
            answers = [Answer(Outcome.REFUSED, problems[row["id"]]) for row in damaged]
            self._outbox.record(damaged, answers, verified="")
        return [row for row in rows if row["id"] not in problems]

    def _problem(self, row: Row) -> str:
        """Why this file is not sent; '' if it is what was committed."""
        path = self._data_folder / row["path"]
        try:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as exc:
            return f"the result file {path.name} cannot be read: {exc.strerror}"
        return (
            "" if found == row["sha256"] else f"the result file {path.name} is not what was committed; it is not sent"
        )

    def _without_held(self, rows: Sequence[Row]) -> list[Row]:
        """Hold the jobs that a person has to look at; the rest may go."""
        going: list[Row] = []
        for job_id in dict.fromkeys(row["job_id"] for row in rows):
            of_job = [row for row in rows if row["job_id"] == job_id]
            reason = self._reason_to_hold(of_job)
            if reason:
                self._outbox.hold(of_job, reason)
            else:
                going.extend(of_job)
        return going

    def _reason_to_hold(self, rows: Sequence[Row]) -> str:
        first = rows[0]
        confirmed = first["confirmed"].split("\n")
        stale = too_old(self._clock.age_s(first["last_image_at"]), self._pace.settings.stale_after_h)
        was_signed = any(row["sign_off_id"] for row in rows)  # by a person, who looked at it just then
        if stale and not was_signed and stale not in confirmed and not self._outbox.anything_delivered(first["job_id"]):
            return stale
        for reason in self._doubts(first):
            if reason and reason not in confirmed:
                return reason
        return ""

    def _doubts(self, row: Row) -> Iterator[str]:
        """Why these may be the results of another patient, by the archives that the job's results go to.

        The destination itself has to answer. Another one that is away cannot be asked, and stops nothing here.
        """
        asked = (row["study_instance_uid"], self._data_folder / row["path"])
        if self._destination.archive is not None:
            own = self._policy.unknown_study
            yield wrong_patient(self._destination.archive, *asked, destination=self._name, unknown_study=own)
        for name in self._outbox.destinations(row["job_id"]):
            if name not in self._witnesses:
                continue
            try:
                doubt = wrong_patient(self._witnesses[name], *asked, destination=name, unknown_study="send")
            except DestinationUnavailable:
                self._outbox.note_not_asked(row, name)
            else:
                yield doubt
