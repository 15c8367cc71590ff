"""Arrival verified: an answer to C-STORE says that a peer took an object, not that it has it.

The best proof a destination offers is asked for: storage commitment (PS3.4 Annex J), else a query for the instances,
else its answer alone. Which one it was is kept with the object. What a destination took and does not have is sent
again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

from wetread.db import Database, Row
from wetread.deliver.commitments import Commitments
from wetread.deliver.destination import Archive, Commitment, Destination
from wetread.deliver.outbox import Outbox
from wetread.deliver.pace import Pace
from wetread.errors import DestinationUnavailable

Verify = Literal["auto", "commitment", "query", "status"]

_MOST_REQUESTS = 3  # of storage commitment for one object, where there is another way


class Verification:
    """Looks after what one destination took."""

    def __init__(self, outbox: Outbox, destination: Destination, verify: Verify, *, db: Database, pace: Pace) -> None:
        self._outbox = outbox
        self._verify = verify
        self._settings = pace.settings
        self._clock = pace.clock
        self._pace = pace
        self._commitments = Commitments(outbox, db, pace.clock)
        self._ways = self._ways_of(destination)
        self.proof = "" if self._ways else destination.proof
        self._looks: dict[int, tuple[int, float]] = {}

    def verify_due(self) -> bool:
        """Look once after one study; whether there was one to look after."""
        studies = self._outbox.unverified()
        self._looks = {study_id: look for study_id, look in self._looks.items() if study_id in studies}
        for study_id, rows in studies.items():
            count, not_before = self._looks.get(study_id, (0, self._clock.monotonic()))
            if not_before <= self._clock.monotonic():
                # Before the look: one that raises what we do not know must not be repeated at once.
                self._looks[study_id] = (count + 1, self._clock.monotonic() + self._pace.delay_s(count))
                self._look(rows)
                return True
        return False

    def _ways_of(self, destination: Destination) -> list[Callable[[Sequence[Row]], None]]:
        ways: list[Callable[[Sequence[Row]], None]] = []
        commitment, archive = destination.commitment, destination.archive
        if commitment is not None and self._verify in ("auto", "commitment"):
            ways.append(lambda rows: self._commit(commitment, rows))
        if archive is not None and self._verify in ("auto", "query"):
            ways.append(lambda rows: self._query(archive, rows))
        return ways

    def _look(self, rows: Sequence[Row]) -> None:
        """The first way that works; with ``auto``, one that has not worked for its whole time gives way to the next."""
        why = "no way to verify is configured"
        age_s = max(self._clock.age_s(row["delivered_at"]) for row in rows)
        for number, way in enumerate(self._ways, start=1):
            try:
                way(rows)
                return
            except DestinationUnavailable as exc:
                why = f"not verified yet: {exc}"
                if self._verify != "auto" or age_s < self._settings.verify_patience_s * number:
                    self._outbox.note_unverified(rows, why)
                    return
        self._outbox.set_verified(rows, "status", f"its answers alone ({why})")

    def _query(self, archive: Archive, rows: Sequence[Row]) -> None:
        series: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            series[row["series_instance_uid"]].append(row)
        for series_instance_uid, of_series in series.items():
            there = archive.instances(of_series[0]["study_instance_uid"], series_instance_uid)
            found = [row for row in of_series if row["sop_instance_uid"] in there]
            absent = [row for row in of_series if row["sop_instance_uid"] not in there]
            if found:
                self._outbox.set_verified(found, "query", "found there by a query")
            if absent:
                self._not_found(absent)

    def _not_found(self, rows: Sequence[Row]) -> None:
        """Archives may show an object some time after they took it."""
        given_up = [r for r in rows if self._clock.age_s(r["delivered_at"]) >= self._settings.verify_patience_s]
        waiting = [r for r in rows if r not in given_up]
        if given_up:
            self._outbox.set_missing(given_up, "by a query")
        if waiting:
            self._outbox.note_unverified(waiting, f"{self._outbox.destination} does not show it yet")

    def _commit(self, commitment: Commitment, rows: Sequence[Row]) -> None:
        asked = self._commitments.asked(rows)
        open_for = {i for a in asked if a.is_open(self._clock, self._settings.commitment_wait_s) for i in a.outbox_ids}
        to_ask = [row for row in rows if row["id"] not in open_for]
        if not to_ask:
            return
        requests = max(sum(row["id"] in a.outbox_ids for a in asked) for row in to_ask)
        if self._verify == "auto" and requests >= _MOST_REQUESTS:
            raise DestinationUnavailable(f"{requests} storage commitment requests without success")
        self._commitments.ask(commitment, to_ask)
