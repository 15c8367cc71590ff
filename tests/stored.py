"""Spool, database, index and revisions of one data folder, with a clock of the test's own."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from received import received
from waiting import until
from wetread.db import Database, now
from wetread.dimse.query import StudyCount
from wetread.records.notes import AssociationEnd
from wetread.store.completeness import CompletenessSettings
from wetread.store.index import Index
from wetread.store.receiving import NO_SOURCES, EvidenceSources
from wetread.store.revisions import Revisions
from wetread.store.spool import Spool

SETTINGS = CompletenessSettings(quiet_s=5.0, settle_s=0.5, wait_for_count_s=60.0, wait_for_release_s=90.0)


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Stored:
    """One data folder as the coordinator sees it; ``open`` again is a restart."""

    folder: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.db = Database(self.folder / "wetread.db")
        self.spool = Spool(self.folder / "spool")
        self.index = Index(self.db, self.spool)
        self.revisions = Revisions(self.db, self.spool, SETTINGS, sources=self.sources(), clock=self.clock)

    def sources(self) -> EvidenceSources:
        """Who can say that a study is complete."""
        return NO_SOURCES

    def receive(self, *paths: Path, **provenance: object) -> None:
        """Keep and index instances."""
        for path in paths:
            self.spool.keep(received(path, **provenance))  # type: ignore[arg-type]
        self.take_in()

    def take_in(self) -> None:
        """Index all that is in ``incoming/``, in as many rounds as it takes."""
        while not self.index.is_empty():
            self.take_in_what_is_listed()

    def take_in_what_is_listed(self) -> None:
        """The same of one look into the folder: what comes meanwhile, or cannot be moved away, is not seen again."""
        self.revisions.changed(self.index.take_in())
        while self.index.is_behind:
            self.revisions.changed(self.index.take_in())

    def be_quiet(self) -> int:
        """How many revisions there are new after the quiet time."""
        self.revisions.close_complete()  # notices studies nobody spoke of
        return self.after(SETTINGS.quiet_s)

    def after(self, seconds: float) -> int:
        """How many revisions there are new after this time."""
        self.clock.at += seconds
        return self.revisions.close_complete()

    def count(self, table: str) -> int:
        return int(self.db.fetch(f"SELECT count(*) AS n FROM {table}")[0]["n"])  # noqa: S608 (a literal of a test)


@dataclass
class Pacs:
    """Answers counts as the test says, in the asking thread."""

    answer: StudyCount | Exception | None = None
    asked: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def __call__(self, peer: str, _study_instance_uid: str) -> StudyCount | None:
        self.asked.append(peer)
        self.gate.wait(30)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class StoredFromPeers(Stored):
    """From ct1 (finishes with a release), pacs (counts) and other (neither)."""

    pacs: Pacs = field(default_factory=Pacs)

    def sources(self) -> EvidenceSources:
        return EvidenceSources(releasing=frozenset({"ct1"}), counting=frozenset({"pacs"}), ask=self.pacs)

    def send(self, *paths: Path, peer: str = "ct1", association: str = "a1") -> None:
        self.receive(*paths, peer=peer, association_id=association)

    def end(self, association: str = "a1", ended: str = "released", peer: str = "ct1") -> None:
        self.spool.note(AssociationEnd(association, peer, ended, 1, now()))  # type: ignore[arg-type]
        self.take_in()

    def answered(self) -> int:
        """How many revisions there are once the PACS has answered what it was asked."""
        for _ in range(3):
            until(lambda: not self._pending(), what="an answer")
            self.after(0.05)
        return len(self.evidence())

    def _pending(self) -> bool:
        questions = self.revisions._receiving._counting._questions
        return any(not q.future.done() for q in questions.values())

    def evidence(self) -> list[tuple[str, str]]:
        rows = self.db.fetch("SELECT evidence, reason FROM revisions ORDER BY id")
        return [(r["evidence"], r["reason"]) for r in rows]

    def reason(self) -> str:
        return str(self.db.fetch("SELECT reason FROM studies")[0]["reason"])
