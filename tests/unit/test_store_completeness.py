"""When a study counts as complete by its associations and its quiet time; data folders with a clock of the test's."""

from __future__ import annotations

from pathlib import Path

import pytest

from phantoms import write_series
from received import PROVENANCE
from stored import SETTINGS, StoredFromPeers
from wetread.db import now
from wetread.service.duties.intake import Intake
from wetread.store.completeness import Announced, AssociationSeen, Complete, Facts, NotYet, judge
from wetread.store.counting import Counted


@pytest.fixture
def store(tmp_path: Path) -> StoredFromPeers:
    return StoredFromPeers(tmp_path / "data")


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, ...]:
    return write_series(tmp_path / "a", shape=(6, 16, 16)).paths


def test_release_completes_within_the_settling_time(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    store.send(*paths)
    store.end()
    assert store.after(0.4) == 0
    assert store.after(0.1) == 1
    assert store.evidence() == [("release", "ct1 released its association")]


def test_every_association_that_brought_instances_must_be_released(
    store: StoredFromPeers, paths: tuple[Path, ...]
) -> None:
    store.send(*paths[:2], association="a1")
    store.send(*paths[2:4], association="a2")
    store.send(*paths[4:], association="a3")
    store.end("a1")
    store.end("a3")
    assert store.after(60.0) == 0
    store.end("a2")
    assert store.after(0.0) == 1
    assert store.evidence() == [("release", "ct1 released all 3 associations")]


def test_sender_that_dribbles_for_ten_minutes_makes_one_revision(
    store: StoredFromPeers, paths: tuple[Path, ...]
) -> None:
    for path in paths:
        store.send(path)
        assert store.after(80.0) == 0
    store.send(*paths)  # once more, duplicates
    store.end()
    assert store.after(0.5) == 1
    assert store.evidence()[0][0] == "release"


@pytest.mark.parametrize("ended", ["aborted", "lost"])
def test_abort_is_no_end_and_leaves_the_quiet_time(store: StoredFromPeers, paths: tuple[Path, ...], ended: str) -> None:
    store.send(*paths)
    store.end(ended=ended)
    assert store.after(4.9) == 0
    assert store.after(0.1) == 1
    assert store.evidence() == [("quiet", "no new instance for 5 s; 1 association ended without release")]


def test_sender_that_resumes_after_an_abort_makes_one_revision(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    store.send(*paths[:3], association="a1")
    store.end("a1", ended="aborted")
    assert store.after(3.0) == 0
    store.send(*paths, association="a2")
    assert store.after(30.0) == 0
    store.end("a2")
    assert store.after(5.0) == 1
    assert len(store.revisions.unrouted()[0].study.series[0].instances) == 6


def test_end_that_is_never_seen_holds_a_study_up_for_a_limited_time_only(
    store: StoredFromPeers, paths: tuple[Path, ...]
) -> None:
    store.send(*paths)
    assert store.after(89.0) == 0
    assert store.reason() == "waits: the end of 1 association, at most 90 s"
    assert store.after(1.0) == 1
    assert "the end of an association was not seen in 90 s" in store.evidence()[0][1]
    assert store.reason() == ""


def test_release_by_a_peer_not_configured_so_is_no_evidence(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    store.send(*paths, peer="other")
    store.end(peer="other")
    assert store.after(4.9) == 0
    assert store.after(0.1) == 1
    assert store.evidence()[0][0] == "quiet"


def test_one_sender_that_does_not_finish_with_a_release_is_waited_for(
    store: StoredFromPeers, paths: tuple[Path, ...]
) -> None:
    store.send(*paths[:3], association="a1")
    store.send(*paths[3:], peer="other", association="a2")
    store.end("a1")
    store.end("a2", peer="other")
    assert store.after(4.9) == 0
    assert store.after(0.1) == 1


def test_late_instance_is_complete_with_its_own_association(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    store.send(*paths[:5])
    store.end(ended="aborted")
    assert store.after(5.0) == 1
    store.send(paths[5], association="a2")
    store.end("a2")
    assert store.after(0.5) == 1
    assert [e for e, _ in store.evidence()] == ["quiet", "release"]


def test_restart_in_the_middle_still_sees_the_release(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    store.send(*paths)
    store.open()
    store.end()
    assert store.after(0.0) == 0
    assert store.after(0.5) == 1
    assert store.evidence()[0][0] == "release"


def test_restart_after_the_release_needs_no_quiet_time(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    store.send(*paths)
    store.end()
    store.open()
    store.after(0.0)
    assert store.after(0.5) == 1
    assert store.evidence()[0][0] == "release"


def test_associations_the_last_process_did_not_see_end_are_lost(
    store: StoredFromPeers, paths: tuple[Path, ...]
) -> None:
    store.send(*paths)
    store.open()
    assert store.revisions.lose_associations(before=now()) == 1
    store.after(0.0)
    assert store.after(5.0) == 1
    assert "ended without release" in store.evidence()[0][1]


def test_associations_of_a_listener_that_ended_alone_are_lost_and_those_of_others_go_on(
    store: StoredFromPeers, paths: tuple[Path, ...]
) -> None:
    store.send(*paths[:3], association="4242-a1")
    store.send(*paths[3:], association="42421-a2")
    duty = Intake(store.index, store.revisions)
    duty.entrance_ended(4242)
    duty.round()
    ended = {row["id"]: row["ended"] for row in store.db.fetch("SELECT id, ended FROM associations")}
    assert ended == {"4242-a1": "lost"}
    store.end("42421-a2")
    assert store.after(4.0) == 0
    assert store.after(1.0) == 1, "the quiet time, not the wait for a release"


def test_association_that_goes_on_after_a_restart_is_not_lost(store: StoredFromPeers, paths: tuple[Path, ...]) -> None:
    before = PROVENANCE.received_at.isoformat()
    store.send(*paths)
    assert store.revisions.lose_associations(before=before) == 0


def test_no_evidence_counts_while_instances_arrive() -> None:
    facts = Facts({"1.2": 6}, {}, 0, (AssociationSeen("ct1", "released"),), Announced(None, 6, {}), 0)
    for quiet_for_s, expected in ((0.4, NotYet), (0.5, Complete)):
        verdict = judge(facts, quiet_for_s, counted=Counted(), settings=SETTINGS, releasing=frozenset({"ct1"}))
        assert isinstance(verdict, expected)
