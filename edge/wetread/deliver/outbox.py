"""The outbox of one destination: every transition of its rows, each in one transaction with its event.

::

    pending ──taken──▶ delivered ──verified──▶ delivered, verified
       ▲ │                 │
       │ ├──refused, failed: pending, later
       │ └──patient differs, too old──▶ held ──released by a person──▶ pending
       └───────── not there after all ─────┘            (recalled, superseded: withdrawn)

An object stays pending until its destination took it, for days if need be. Within a study the order of encoding is
kept, because reports refer to segmentations: what comes after an object that failed waits with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from wetread.db import Database, Queries, Row, Transaction
from wetread.deliver.destination import Answer, Outcome
from wetread.deliver.pace import Pace
from wetread.records.numbers import number_of


class Outbox:
    """What one destination still has to get, and what it got."""

    def __init__(self, destination: str, db: Database, pace: Pace) -> None:
        self.destination = destination
        self._db = db
        self._pace = pace
        self._clock = pace.clock
        self._queries = Queries("wetread.deliver")

    def due(self) -> list[Row]:
        """What may be sent now of one study, in order; the study that has waited longest."""
        key = {"destination": self.destination, **self._window()}
        studies = self._db.fetch(self._queries["next_study"], key)
        if not studies:
            return []
        rows = self._db.fetch(self._queries["pending_of_study"], {**key, "study_id": studies[0]["study_id"]})
        due: list[Row] = []
        for row in rows:
            if row["due"]:
                due.append(row)
            elif not row["refused"]:
                break
        return due

    def asked_now(self) -> bool:
        """Whether a person wants something tried without waiting."""
        return bool(self._db.fetch(self._queries["asked_now"], {"destination": self.destination}))

    def forget_asked(self) -> None:
        """It was tried and nobody was there: the rest of what was asked for waits as everything does."""
        with self._db.transaction() as tx:
            tx.run(self._queries["forget_asked"], {"destination": self.destination})

    def record(self, rows: Sequence[Row], answers: Sequence[Answer], *, verified: str) -> None:
        """What the destination answered; ``verified`` is what an answer proves ('' if that is found out later)."""
        failed: dict[tuple[int, str, str], list[Row]] = defaultdict(list)
        delay_s = self._delay_s([r for r, a in zip(rows, answers, strict=True) if a.outcome is Outcome.FAILED])
        with self._db.transaction() as tx:
            for row, answer in zip(rows, answers, strict=True):
                if answer.accepted:
                    self._delivered(tx, row, answer, verified)
                    continue
                refused = answer.outcome is Outcome.REFUSED
                wait_s = self._pace.settings.refused_delay_s if refused else delay_s
                self._try_later(tx, row, wait_s, f"{answer.error} {answer.comment}".rstrip(), refused=refused)
                failed[row["study_id"], row["job_id"], answer.error].append(row)
            for (study_id, job_id, error), those in failed.items():
                detail = (
                    f"{number_of(len(those), 'object')} to {self.destination}, try {those[0]['attempts'] + 1}: {error}"
                )
                tx.event("not_delivered", detail, study_id=study_id, job_id=job_id)

    def hold(self, rows: Sequence[Row], reason: str) -> None:
        """Keep these from being sent until a person decides. The reason names attributes, never their values."""
        with self._db.transaction() as tx:
            for row in rows:
                tx.run(self._queries["hold"], {"id": row["id"], "reason": reason})
            for study_id, job_id in _jobs_of(rows):
                detail = f"results for {self.destination}: {reason}"
                tx.event("result_held", detail, study_id=study_id, job_id=job_id)

    def destinations(self, job_id: str) -> tuple[str, ...]:
        """Where the results of a job go, this destination included."""
        rows = self._db.fetch(self._queries["destinations_of_job"], {"job_id": job_id})
        return tuple(row["destination"] for row in rows)

    def note_not_asked(self, row: Row, archive: str) -> None:
        """This job's results go without the word of an archive that gives no answer; said once."""
        detail = f"results for {self.destination}: {archive} gives no answer, so it was not asked whose study it is"
        key = {"study_id": row["study_id"], "job_id": row["job_id"], "detail": detail}
        with self._db.transaction() as tx:
            if not tx.fetch(self._queries["said_not_asked"], key):
                tx.event("not_asked", detail, study_id=row["study_id"], job_id=row["job_id"])

    def anything_delivered(self, job_id: str) -> bool:
        """Whether the destination has some of this job's objects already."""
        key = {"job_id": job_id, "destination": self.destination}
        return bool(self._db.fetch(self._queries["some_delivered"], key))

    def unverified(self) -> Mapping[int, list[Row]]:
        """What was delivered and not verified, by study."""
        studies: dict[int, list[Row]] = defaultdict(list)
        for row in self._db.fetch(self._queries["unverified"], {"destination": self.destination}):
            studies[row["study_id"]].append(row)
        return studies

    def set_verified(self, rows: Sequence[Row], how: str, detail: str) -> None:
        """The destination has these: ``how`` we know."""
        with self._db.transaction() as tx:
            for row in rows:
                tx.run(self._queries["verified"], {"id": row["id"], "how": how, "now": self._clock.stamp()})
            for study_id, job_id in _jobs_of(rows):
                tx.event(
                    "verified",
                    f"{number_of(len(rows), 'object')} at {self.destination}: {detail}",
                    study_id=study_id,
                    job_id=job_id,
                )

    def set_missing(self, rows: Sequence[Row], how: str) -> None:
        """The destination took these and does not have them: they are sent again."""
        error = f"{self.destination} took it and does not have it ({how}); it is sent again"
        delay_s = self._delay_s(rows)
        with self._db.transaction() as tx:
            for row in rows:
                fields = {"id": row["id"], "available_at": self._clock.stamp(delay_s), "error": error}
                tx.run(self._queries["missing"], fields)
            for study_id, job_id in _jobs_of(rows):
                detail = f"{number_of(len(rows), 'object')}: {error}"
                tx.event("missing", detail, study_id=study_id, job_id=job_id)

    def note_unverified(self, rows: Sequence[Row], why: str) -> None:
        """Why it is not known yet whether these arrived; shown beside them, no event for each look."""
        with self._db.transaction() as tx:
            for row in rows:
                tx.run(self._queries["not_verified_yet"], {"id": row["id"], "why": why})

    def _delivered(self, tx: Transaction, row: Row, answer: Answer, verified: str) -> None:
        at = self._clock.stamp()
        before = tx.fetch(self._queries["state"], {"id": row["id"]})[0]["state"]
        fields = {
            "id": row["id"],
            "now": at,
            "warning": f"{answer.warning} {answer.comment}".rstrip(),
            "verified": verified,
        }
        tx.run(self._queries["delivered"], fields)
        where = {"study_id": row["study_id"], "job_id": row["job_id"]}
        warned = f", with a warning: {answer.warning}" if answer.warning else ""
        late = " although it was withdrawn meanwhile: it was on its way" if before == "withdrawn" else ""
        tx.event("delivered", f"{row['kind']} to {self.destination}{warned}{late}", **where)

    def _try_later(self, tx: Transaction, row: Row, delay_s: float, error: str, *, refused: bool) -> None:
        fields = {"id": row["id"], "available_at": self._clock.stamp(delay_s), "error": error, "refused": refused}
        tx.run(self._queries["not_delivered"], fields)

    def _delay_s(self, rows: Sequence[Row]) -> float:
        """One delay for all: with different ones, the order within the study would be lost."""
        return self._pace.delay_s(max((r["attempts"] for r in rows), default=0))

    def _window(self) -> dict[str, str]:
        # What seems to be due later than any delay allows comes from a clock that was set back: it is due now.
        return {"now": self._clock.stamp(), "latest": self._clock.stamp(self._pace.longest_s + 1.0)}


def _jobs_of(rows: Sequence[Row]) -> list[tuple[int, str]]:
    return sorted({(r["study_id"], r["job_id"]) for r in rows})
