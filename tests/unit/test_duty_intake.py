"""The intake duty: rounds of bounded length, and what a backlog means for studies that are arriving."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phantoms import write_series
from received import received
from stored import Stored
from wetread.service.duties.intake import Intake
from wetread.store import index


@pytest.fixture
def store(tmp_path: Path) -> Stored:
    return Stored(tmp_path / "data")


def test_study_whose_instances_wait_in_line_behind_others_is_not_closed(
    store: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BATCH", 1)
    first, last = write_series(tmp_path / "a", study_seed="a", shape=(2, 16, 16)).paths
    between = write_series(tmp_path / "b", study_seed="b", shape=(4, 16, 16)).paths
    for path in (first, *between, last):
        store.spool.keep(received(path))
    duty = Intake(store.index, store.revisions)
    duty.recover()
    while not store.index.is_empty():
        duty.round()
        store.clock.at += 6.0  # a slow disk: more than the quiet time for each instance
    duty.round()
    numbers = [(r.number, r.study.instance_count) for r in store.revisions.unrouted()]
    assert sorted(numbers) == [(1, 2), (1, 4)]


def test_folders_of_many_new_studies_are_made_with_one_sync_of_their_parent(
    store: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in "abcdefgh":
        (path,) = write_series(tmp_path / seed, study_seed=seed, shape=(1, 16, 16)).paths
        store.spool.keep(received(path))
    store.index = index.Index(store.db, store.spool, clock=lambda: 0.0)  # one round
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")) or fsync(fd))
    store.take_in()
    assert synced.count(str(store.spool.studies)) == 1
    assert {path.parent.as_posix() for path in store.spool.studies.glob("*/*.dcm")} < set(synced)
