"""Studies that are still arriving: how long each has been quiet, what is known of it, when to look again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from wetread.db import Database, Queries, Row
from wetread.store.completeness import (
    Announced,
    AssociationSeen,
    Complete,
    CompletenessSettings,
    Facts,
    NotYet,
    Verdict,
    judge,
)
from wetread.store.counting import Ask, Counted, Counting


@dataclass(frozen=True, slots=True)
class EvidenceSources:
    """Who can say that a study is complete."""

    releasing: frozenset[str] = frozenset()
    """Peers (by name) that release an association when they have sent all they had."""
    authorities: frozenset[str] = frozenset()
    """Peers whose header of an instance replaces that of others."""
    counting: frozenset[str] = frozenset()
    """Peers that may be asked how many instances a study has."""
    ask: Ask = lambda _peer, _study_instance_uid: None


NO_SOURCES = EvidenceSources()
"""Nobody can: the announced counts and the quiet time decide."""


@dataclass(slots=True)
class _Study:
    changed_at: float
    """Clock of the last arrival."""
    look_at: float


class Receiving:
    """Which studies are complete now. All methods are called by the coordinator's thread."""

    def __init__(
        self, db: Database, settings: CompletenessSettings, sources: EvidenceSources, *, clock: Callable[[], float]
    ) -> None:
        self._db = db
        self._settings = settings
        self._sources = sources
        self._clock = clock
        self._queries = Queries("wetread.store")
        self._counting = Counting(sources.ask, sources.counting, clock=clock)
        self._studies: dict[int, _Study] = {}
        self._last_association = -1

    def arrived(self, study_ids: Iterable[int]) -> None:
        """Source instances of these studies arrived just now."""
        at = self._clock()
        for study_id in study_ids:
            self._studies[study_id] = _Study(at, at + self._settings.settle_s)

    def complete(self) -> Iterator[tuple[int, Complete]]:
        """The studies that count as complete, with the evidence."""
        self._notice()
        at = self._clock()
        for study_id, study in list(self._studies.items()):
            if study.look_at > at:
                continue
            verdict = self._judge(study_id, study, at)
            if verdict is None:
                self.forget(study_id)
            elif isinstance(verdict, Complete):
                yield study_id, verdict
            else:
                study.look_at = at + verdict.again_s

    def forget(self, study_id: int) -> None:
        """The study does not receive any more."""
        self._studies.pop(study_id, None)
        self._counting.forget(study_id)

    def close(self) -> None:
        """Ask nobody any more."""
        self._counting.close()

    def _notice(self) -> None:
        """Studies nobody spoke of (released by a person, found at start, of derived objects alone) and associations
        that ended."""
        at = self._clock()
        for row in self._db.fetch(self._queries["receiving"]):
            self._studies.setdefault(int(row["id"]), _Study(at, at + self._settings.settle_s))
        last = self._db.fetch(self._queries["last_association"])[0]["last"] or 0
        if last != self._last_association:
            self._last_association = last
            for study in self._studies.values():
                study.look_at = min(study.look_at, max(at, study.changed_at + self._settings.settle_s))

    def _judge(self, study_id: int, study: _Study, at: float) -> Verdict | None:
        """None when the study is not receiving any more."""
        key = {"study_id": study_id}
        rows = self._db.fetch(self._queries["receiving_study"], key)
        if not rows:
            return None
        facts = self._facts(key, rows[0])
        quiet_for_s = at - study.changed_at
        verdict = judge(
            facts,
            quiet_for_s,
            counted=self._counted(study_id, study, rows[0], facts),
            settings=self._settings,
            releasing=self._sources.releasing,
        )
        if isinstance(verdict, NotYet):
            self._show(key, rows[0], f"waits: {verdict.what}" if quiet_for_s >= self._settings.quiet_s else "")
        return verdict

    def _counted(self, study_id: int, study: _Study, row: Row, facts: Facts) -> Counted:
        if not facts.associations or all(a.peer in self._sources.releasing for a in facts.associations):
            return Counted()  # nothing new to count, or there is stronger evidence
        senders = {a.peer for a in facts.associations}
        return self._counting.look(study_id, row["study_instance_uid"], senders=senders, changed_at=study.changed_at)

    def _facts(self, key: dict[str, int], row: Row) -> Facts:
        here: dict[str, int] = {}
        derived: dict[str, int] = {}
        announced: dict[str, int] = {}
        own = 0
        for series in self._db.fetch(self._queries["instances_by_series"], key):
            uid = series["series_instance_uid"]
            kind = here if series["role"] == "source" else derived
            kind[uid] = kind.get(uid, 0) + int(series["n"])
            own += int(series["n"]) if series["role"] == "own" else 0
            if series["role"] == "source" and series["announced_instances"]:
                announced[uid] = int(series["announced_instances"])
        associations = self._db.fetch(self._queries["new_associations"], key)
        return Facts(
            here=here,
            derived=derived,
            own=own,
            associations=tuple(AssociationSeen(a["peer"], a["ended"]) for a in associations),
            announced=Announced(row["announced_series"] or None, row["announced_instances"] or None, announced),
            comparing=int(self._db.fetch(self._queries["to_compare"], key)[0]["n"]),
        )

    def _show(self, key: dict[str, int], row: Row, reason: str) -> None:
        """What a study waits for longer than the quiet time is its visible reason."""
        if reason != row["reason"]:
            with self._db.transaction() as tx:
                tx.run(self._queries["set_waiting_for"], {**key, "reason": reason})
