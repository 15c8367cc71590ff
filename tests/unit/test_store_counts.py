"""When a study counts as complete by counts: of the PACS that sent it, or announced in its instances."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from phantoms import write_series
from stored import StoredFromPeers
from wetread.dimse.query import SeriesFound, StudyCount
from wetread.errors import DestinationUnavailable


@pytest.fixture
def store(tmp_path: Path) -> StoredFromPeers:
    return StoredFromPeers(tmp_path / "data")


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, ...]:
    return write_series(tmp_path / "a", shape=(6, 16, 16)).paths


def _count(instances: int, *series: tuple[str, str, int | None]) -> StudyCount:
    return StudyCount(instances, tuple(SeriesFound(uid, modality, n) for uid, modality, n in series))


# Counts of the PACS


def test_count_that_is_reached_completes_at_once(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    store.pacs.answer = StudyCount(6, ())
    store.send(*paths, peer="pacs")
    assert store.after(0.5) == 0
    assert store.answered() == 1
    assert store.evidence() == [("pacs-count", "all 6 instances that pacs counts are here")]


def test_count_that_is_not_reached_waits_and_then_says_so(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
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


def test_missing_instance_that_arrives_completes_a_counted_study(
    store: StoredFromPeers, paths: tuple[Path, ...]
) -> None:
    store.pacs.answer = StudyCount(6, ())
    store.send(*paths[:5], peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    store.after(30.0)
    store.send(paths[5], peer="pacs")
    store.after(0.5)
    assert store.answered() == 1
    assert [e for e, _ in store.evidence()] == ["pacs-count"]


def test_results_the_pacs_holds_are_not_waited_for(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    uid = str(pydicom.dcmread(paths[0]).SeriesInstanceUID)
    store.pacs.answer = _count(9, (uid, "MR", 6), ("1.2.3", "SR", 1), ("1.2.4", "SEG", 2))
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 1
    assert store.evidence()[0][0] == "pacs-count"


def test_series_that_has_not_begun_to_arrive_is_waited_for(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    uid = str(pydicom.dcmread(paths[0]).SeriesInstanceUID)
    store.pacs.answer = _count(9, (uid, "MR", 6), ("1.2.3", "MR", 3))
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    assert store.after(10.0) == 0
    assert store.reason() == "waits: 6 of 9 instances that pacs counts, at most 60 s"


def test_pacs_that_counts_less_than_is_here_says_nothing(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    store.pacs.answer = StudyCount(3, ())
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    store.after(5.0)
    assert store.answered() == 1
    assert store.evidence() == [("quiet", "no new instance for 5 s")]


def test_pacs_that_counts_less_of_one_series_says_nothing(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    uid = str(pydicom.dcmread(paths[0]).SeriesInstanceUID)
    store.pacs.answer = _count(3, (uid, "MR", 3))
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    store.after(5.0)
    assert store.answered() == 1
    assert store.evidence() == [("quiet", "no new instance for 5 s")]


def test_pacs_that_cannot_be_asked_leaves_the_quiet_time_with_the_reason(
    store: StoredFromPeers, paths: tuple[Path, ...]
) -> None:
    store.pacs.answer = DestinationUnavailable("PACS cannot be reached")
    store.send(*paths, peer="pacs")
    store.after(0.5)
    assert store.answered() == 0
    store.after(4.5)
    assert store.evidence() == [
        ("quiet", "no new instance for 5 s; the count could not be asked: PACS cannot be reached")
    ]


def test_pacs_that_hangs_stops_neither_the_round_nor_the_study(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
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


def test_only_the_sender_of_a_study_is_asked(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    store.send(*paths, peer="other")
    assert store.after(5.0) == 1
    assert store.pacs.asked == []


# Announced counts


def _announcing(folder: Path, **counts: int) -> tuple[Path, ...]:
    def mutate(ds: pydicom.Dataset, _k: int) -> None:
        for keyword, value in counts.items():
            setattr(ds, keyword, value)

    return write_series(folder, shape=(6, 16, 16), mutate=mutate).paths


def test_announced_count_completes_when_reached(store: StoredFromPeers, tmp_path: Path) -> None:
    paths = _announcing(tmp_path / "a", NumberOfStudyRelatedInstances=6)
    store.send(*paths[:5], peer="other")
    assert store.after(30.0) == 0
    store.send(paths[5], peer="other")
    assert store.after(0.5) == 1
    assert store.evidence() == [("announced-count", "all 6 instances that the instances announce are here")]


def test_announced_count_that_is_too_small_is_not_believed(store: StoredFromPeers, tmp_path: Path) -> None:
    paths = _announcing(tmp_path / "a", NumberOfStudyRelatedInstances=1)
    store.send(*paths[:3], peer="other")
    assert store.after(4.9) == 0
    assert store.after(0.1) == 1
    assert store.evidence()[0][0] == "quiet"


def test_series_counts_complete_a_study_only_if_all_series_are_announced(
    store: StoredFromPeers, tmp_path: Path
) -> None:
    paths = _announcing(tmp_path / "a", NumberOfSeriesRelatedInstances=6, NumberOfStudyRelatedSeries=1)
    store.send(*paths, peer="other")
    assert store.after(0.5) == 1
    more = _announcing(tmp_path / "b", NumberOfSeriesRelatedInstances=6)
    store.send(*more, peer="other", association="b1")
    assert len(store.evidence()) == 1


def test_series_count_alone_makes_wait_but_does_not_complete(store: StoredFromPeers, tmp_path: Path) -> None:
    paths = _announcing(tmp_path / "a", NumberOfSeriesRelatedInstances=6)
    store.send(*paths[:4], peer="other")
    assert store.after(10.0) == 0
    assert "4 of 6 instances" in store.reason()
    store.send(*paths[4:], peer="other")
    assert store.after(4.9) == 0
    assert store.after(0.1) == 1


@pytest.mark.parametrize("value", ["-3", "many"])
def test_announced_nonsense_is_ignored(store: StoredFromPeers, tmp_path: Path, value: str) -> None:
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
