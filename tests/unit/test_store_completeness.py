"""When a study counts as complete, by which evidence; in a data folder with a clock of the test's own."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest

from phantoms import write_series
from received import PROVENANCE, received
from waiting import until
from wetread.db import Database, now
from wetread.dimse.query import SeriesFound, StudyCount
from wetread.errors import DestinationUnavailable
from wetread.records.notes import AssociationEnd
from wetread.store.completeness import (
    Announced,
    AssociationSeen,
    Complete,
    CompletenessSettings,
    Facts,
    NotYet,
    judge,
)
from wetread.store.counting import Counted
from wetread.store.index import Index
from wetread.store.receiving import EvidenceSources
from wetread.store.revisions import Revisions
from wetread.store.spool import Spool

SETTINGS = CompletenessSettings(quiet_s=5.0, settle_s=0.5, wait_for_count_s=60.0, wait_for_release_s=90.0)


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
class Store:
    """A data folder with ct1 (finishes with a release), pacs (counts) and other (neither)."""

    folder: Path
    pacs: Pacs = field(default_factory=Pacs)
    at: float = 1000.0

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.db = Database(self.folder / "wetread.db")
        self.spool = Spool(self.folder / "spool")
        self.index = Index(self.db, self.spool)
        sources = EvidenceSources(releasing=frozenset({"ct1"}), counting=frozenset({"pacs"}), ask=self.pacs)
        self.revisions = Revisions(self.db, self.spool, SETTINGS, sources=sources, clock=lambda: self.at)

    def send(self, *paths: Path, peer: str = "ct1", association: str = "a1") -> None:
        for path in paths:
            self.spool.keep(received(path, peer=peer, association_id=association))
        self.take_in()

    def end(self, association: str = "a1", ended: str = "released", peer: str = "ct1") -> None:
        self.spool.note(AssociationEnd(association, peer, ended, 1, now()))  # type: ignore[arg-type]
        self.take_in()

    def take_in(self) -> None:
        while not self.index.is_empty():
            self.revisions.changed(self.index.take_in())

    def after(self, seconds: float) -> int:
        """How many revisions there are new after this time."""
        self.at += seconds
        return self.revisions.close_complete()

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


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, ...]:
    return write_series(tmp_path / "a", shape=(6, 16, 16)).paths


def _count(instances: int, *series: tuple[str, str, int | None]) -> StudyCount:
    return StudyCount(instances, tuple(SeriesFound(uid, modality, n) for uid, modality, n in series))


# Association release


def test_release_completes_within_the_settling_time(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths)
    store.end()
    assert store.after(0.4) == 0
    assert store.after(0.1) == 1
    assert store.evidence() == [("release", "ct1 released its association")]


def test_every_association_that_brought_instances_must_be_released(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths[:2], association="a1")
    store.send(*paths[2:4], association="a2")
    store.send(*paths[4:], association="a3")
    store.end("a1")
    store.end("a3")
    assert store.after(60.0) == 0
    store.end("a2")
    assert store.after(0.0) == 1
    assert store.evidence() == [("release", "ct1 released all 3 associations")]


def test_sender_that_dribbles_for_ten_minutes_makes_one_revision(store: Store, paths: tuple[Path, ...]) -> None:
    for path in paths:
        store.send(path)
        assert store.after(80.0) == 0
    store.send(*paths)  # once more, duplicates
    store.end()
    assert store.after(0.5) == 1
    assert store.evidence()[0][0] == "release"


@pytest.mark.parametrize("ended", ["aborted", "lost"])
def test_abort_is_no_end_and_leaves_the_quiet_time(store: Store, paths: tuple[Path, ...], ended: str) -> None:
    store.send(*paths)
    store.end(ended=ended)
    assert store.after(4.9) == 0
    assert store.after(0.1) == 1
    assert store.evidence() == [("quiet", "no new instance for 5 s; 1 association(s) ended without release")]


def test_sender_that_resumes_after_an_abort_makes_one_revision(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths[:3], association="a1")
    store.end("a1", ended="aborted")
    assert store.after(3.0) == 0
    store.send(*paths, association="a2")
    assert store.after(30.0) == 0
    store.end("a2")
    assert store.after(5.0) == 1
    assert len(store.revisions.unrouted()[0].study.series[0].instances) == 6


def test_end_that_is_never_seen_holds_a_study_up_for_a_limited_time_only(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths)
    assert store.after(89.0) == 0
    assert store.reason() == "waits: the end of 1 association(s), at most 90 s"
    assert store.after(1.0) == 1
    assert "the end of an association was not seen in 90 s" in store.evidence()[0][1]
    assert store.reason() == ""


def test_release_by_a_peer_not_configured_so_is_no_evidence(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths, peer="other")
    store.end(peer="other")
    assert store.after(4.9) == 0
    assert store.after(0.1) == 1
    assert store.evidence()[0][0] == "quiet"


def test_one_sender_that_does_not_finish_with_a_release_is_waited_for(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths[:3], association="a1")
    store.send(*paths[3:], peer="other", association="a2")
    store.end("a1")
    store.end("a2", peer="other")
    assert store.after(4.9) == 0
    assert store.after(0.1) == 1


def test_late_instance_is_complete_with_its_own_association(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths[:5])
    store.end(ended="aborted")
    assert store.after(5.0) == 1
    store.send(paths[5], association="a2")
    store.end("a2")
    assert store.after(0.5) == 1
    assert [e for e, _ in store.evidence()] == ["quiet", "release"]


def test_restart_in_the_middle_still_sees_the_release(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths)
    store.open()
    store.end()
    assert store.after(0.0) == 0
    assert store.after(0.5) == 1
    assert store.evidence()[0][0] == "release"


def test_restart_after_the_release_needs_no_quiet_time(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths)
    store.end()
    store.open()
    store.after(0.0)
    assert store.after(0.5) == 1
    assert store.evidence()[0][0] == "release"


def test_associations_the_last_process_did_not_see_end_are_lost(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths)
    store.open()
    assert store.revisions.lose_associations(before=now()) == 1
    store.after(0.0)
    assert store.after(5.0) == 1
    assert "ended without release" in store.evidence()[0][1]


def test_association_that_goes_on_after_a_restart_is_not_lost(store: Store, paths: tuple[Path, ...]) -> None:
    before = PROVENANCE.received_at.isoformat()
    store.send(*paths)
    assert store.revisions.lose_associations(before=before) == 0


# Counts of the PACS


def test_count_that_is_reached_completes_at_once(store: Store, paths: tuple[Path, ...]) -> None:
    store.pacs.answer = StudyCount(6, ())
    store.send(*paths, peer="pacs")
    assert store.after(0.5) == 0
    assert store.answered() == 1
    assert store.evidence() == [("pacs-count", "all 6 instances that pacs counts are here")]


def test_count_that_is_not_reached_waits_and_then_says_so(store: Store, paths: tuple[Path, ...]) -> None:
    store.pacs.answer = StudyCount(8, ())
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    assert store.after(20.0) == 0
    assert store.reason() == "waits: 6 of 8 instances that pacs counts, at most 60 s"
    assert store.answered() == 0
    store.after(40.0)
    assert store.answered() == 1
    (evidence, reason) = store.evidence()[0]
    assert evidence == "quiet"
    assert "only 6 of 8 instances that pacs counts, after 60 s" in reason


def test_missing_instance_that_arrives_completes_a_counted_study(store: Store, paths: tuple[Path, ...]) -> None:
    store.pacs.answer = StudyCount(6, ())
    store.send(*paths[:5], peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    store.after(30.0)
    store.send(paths[5], peer="pacs")
    store.after(0.5)
    assert store.answered() == 1
    assert [e for e, _ in store.evidence()] == ["pacs-count"]


def test_results_the_pacs_holds_are_not_waited_for(store: Store, paths: tuple[Path, ...]) -> None:
    uid = str(pydicom.dcmread(paths[0]).SeriesInstanceUID)
    store.pacs.answer = _count(9, (uid, "MR", 6), ("1.2.3", "SR", 1), ("1.2.4", "SEG", 2))
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 1
    assert store.evidence()[0][0] == "pacs-count"


def test_series_that_has_not_begun_to_arrive_is_waited_for(store: Store, paths: tuple[Path, ...]) -> None:
    uid = str(pydicom.dcmread(paths[0]).SeriesInstanceUID)
    store.pacs.answer = _count(9, (uid, "MR", 6), ("1.2.3", "MR", 3))
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    assert store.after(10.0) == 0
    assert store.reason() == "waits: 6 of 9 instances that pacs counts, at most 60 s"


def test_pacs_that_counts_less_than_is_here_says_nothing(store: Store, paths: tuple[Path, ...]) -> None:
    store.pacs.answer = StudyCount(3, ())
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    store.after(5.0)
    assert store.answered() == 1
    assert store.evidence() == [("quiet", "no new instance for 5 s")]


def test_pacs_that_counts_less_of_one_series_says_nothing(store: Store, paths: tuple[Path, ...]) -> None:
    uid = str(pydicom.dcmread(paths[0]).SeriesInstanceUID)
    store.pacs.answer = _count(3, (uid, "MR", 3))
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    store.after(5.0)
    assert store.answered() == 1
    assert store.evidence() == [("quiet", "no new instance for 5 s")]


def test_no_evidence_counts_while_instances_arrive() -> None:
    facts = Facts({"1.2": 6}, {}, 0, (AssociationSeen("ct1", "released"),), Announced(None, 6, {}), 0)
    for quiet_for_s, expected in ((0.4, NotYet), (0.5, Complete)):
        verdict = judge(facts, quiet_for_s, counted=Counted(), settings=SETTINGS, releasing=frozenset({"ct1"}))
        assert isinstance(verdict, expected)


def test_pacs_that_cannot_be_asked_leaves_the_quiet_time_with_the_reason(store: Store, paths: tuple[Path, ...]) -> None:
    store.pacs.answer = DestinationUnavailable("PACS cannot be reached")
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    store.after(4.5)
    assert store.evidence() == [
        ("quiet", "no new instance for 5 s; the count could not be asked: PACS cannot be reached")
    ]


def test_pacs_that_hangs_stops_neither_the_round_nor_the_study(store: Store, paths: tuple[Path, ...]) -> None:
    store.pacs.gate.clear()
    try:
        store.send(*paths, peer="pacs")
        assert store.after(0.5) == 0
        assert store.after(6.0) == 0  # not yet: its answer may come
        assert store.after(5.0) == 1
        assert store.evidence() == [
            ("quiet", "no new instance for 5 s; the count could not be asked: no answer in 10 s")
        ]
    finally:
        store.pacs.gate.set()


def test_only_the_sender_of_a_study_is_asked(store: Store, paths: tuple[Path, ...]) -> None:
    store.send(*paths, peer="other")
    assert store.after(5.0) == 1
    assert store.pacs.asked == []


# Announced counts


def _announcing(folder: Path, **counts: int) -> tuple[Path, ...]:
    def mutate(ds: pydicom.Dataset, _k: int) -> None:
        for keyword, value in counts.items():
            setattr(ds, keyword, value)

    return write_series(folder, shape=(6, 16, 16), mutate=mutate).paths


def test_announced_count_completes_when_reached(store: Store, tmp_path: Path) -> None:
    paths = _announcing(tmp_path / "a", NumberOfStudyRelatedInstances=6)
    store.send(*paths[:5], peer="other")
    assert store.after(30.0) == 0
    store.send(paths[5], peer="other")
    assert store.after(0.5) == 1
    assert store.evidence() == [("announced-count", "all 6 instances that the instances announce are here")]


def test_announced_count_that_is_too_small_is_not_believed(store: Store, tmp_path: Path) -> None:
    paths = _announcing(tmp_path / "a", NumberOfStudyRelatedInstances=1)
    store.send(*paths[:3], peer="other")
    assert store.after(4.9) == 0
    assert store.after(0.1) == 1
    assert store.evidence()[0][0] == "quiet"


def test_series_counts_complete_a_study_only_if_all_series_are_announced(store: Store, tmp_path: Path) -> None:
    paths = _announcing(tmp_path / "a", NumberOfSeriesRelatedInstances=6, NumberOfStudyRelatedSeries=1)
    store.send(*paths, peer="other")
    assert store.after(0.5) == 1
    more = _announcing(tmp_path / "b", NumberOfSeriesRelatedInstances=6)
    store.send(*more, peer="other", association="b1")
    assert len(store.evidence()) == 1


def test_series_count_alone_makes_wait_but_does_not_complete(store: Store, tmp_path: Path) -> None:
    paths = _announcing(tmp_path / "a", NumberOfSeriesRelatedInstances=6)
    store.send(*paths[:4], peer="other")
    assert store.after(10.0) == 0
    assert "4 of 6 instances" in store.reason()
    store.send(*paths[4:], peer="other")
    assert store.after(4.9) == 0
    assert store.after(0.1) == 1


@pytest.mark.parametrize("value", ["-3", "many"])
def test_announced_nonsense_is_ignored(store: Store, tmp_path: Path, value: str) -> None:
    def mutate(ds: pydicom.Dataset, _k: int) -> None:
        ds.add(pydicom.DataElement(0x00201208, "IS", None))
        ds[0x00201208]._value = value

    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        paths = write_series(tmp_path / "a", shape=(3, 16, 16), mutate=mutate).paths
    finally:
        pydicom.config.settings.writing_validation_mode = pydicom.config.WARN
    store.send(*paths, peer="other")
    assert store.after(5.0) == 1
    assert store.evidence()[0][0] == "quiet"
