"""Retention: what is finished goes, oldest first; what is open stays, however full the disk is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from served import Served
from wetread.errors import Misconfigured
from wetread.records.job import JobState
from wetread.store import retention
from wetread.store.requests import StudyRequests
from wetread.store.retention import Retention, RetentionSettings

SETTINGS = RetentionSettings(sources_days=30.0, results_days=60.0, events_days=0.0, min_free_mb=0)


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path / "data")


def cleaning(served: Served, *, free_mb: int = 10**6, **changed: float) -> Retention:
    settings = dataclasses.replace(SETTINGS, **changed)  # type: ignore[arg-type]
    return Retention(served.db, served.folder, settings, free_bytes=lambda _: free_mb * 2**20)


def clean_all(keeper: Retention) -> int:
    steps = 0
    while keeper.clean_one() is not None:
        steps += 1
    return steps


def test_images_go_after_their_time_and_results_after_theirs(served: Served) -> None:
    served.whole_way("a")
    assert clean_all(cleaning(served)) == 0
    served.age(31)
    assert clean_all(cleaning(served)) == 1
    assert (served.source_files(), served.result_files()) == (0, 1)
    served.age(30)
    assert clean_all(cleaning(served)) == 1
    assert served.result_files() == 0
    assert served.states() == ["read"]
    assert served.actions().count("removed") == 2


def test_zero_days_keep_for_ever(served: Served) -> None:
    served.whole_way("a")
    served.age(10_000)
    assert clean_all(cleaning(served, sources_days=0.0, results_days=0.0)) == 0


def _receiving(served: Served) -> None:
    served.receive(*served.images("a"))


def _waiting(served: Served) -> None:
    _receiving(served)
    served.complete()


def _running(served: Served) -> None:
    _waiting(served)
    assert served.queue.claim() is not None


def _failed(served: Served) -> None:
    _waiting(served)
    served.read(JobState.FAILED)


def _undelivered(served: Served) -> None:
    _waiting(served)
    served.read()


def _result_held(served: Served) -> None:
    _undelivered(served)
    with served.db.transaction() as tx:
        tx.run("UPDATE outbox SET state = 'held'")


def _held(served: Served) -> None:
    served.whole_way("a")
    with served.db.transaction() as tx:
        tx.run("UPDATE studies SET state = 'held'")


@pytest.mark.parametrize("open_state", [_receiving, _waiting, _running, _failed, _undelivered, _result_held, _held])
def test_nothing_open_is_removed_on_the_fullest_disk(served: Served, open_state: Callable[[Served], None]) -> None:
    open_state(served)
    served.age(10_000)
    before = (served.source_files(), served.result_files())
    assert clean_all(cleaning(served, free_mb=0, min_free_mb=4096)) == 0
    assert (served.source_files(), served.result_files()) == before


def test_full_disk_takes_the_oldest_finished_study_first_and_stops_when_there_is_room(served: Served) -> None:
    served.whole_way("old")
    served.age(2)
    served.whole_way("new")
    free = iter([100, 100, 9000, 9000, 9000])
    keeper = Retention(
        served.db,
        served.folder,
        dataclasses.replace(SETTINGS, min_free_mb=4096),
        free_bytes=lambda _: next(free) * 2**20,
    )
    removed = keeper.clean_one()
    assert removed is not None
    assert removed.study_id == 1
    assert removed.files == 3
    assert keeper.clean_one() is not None
    assert keeper.clean_one() is None
    assert served.result_files() == 2


def test_rejected_study_goes_too(served: Served) -> None:
    _waiting(served)
    served.read(JobState.REJECTED)
    served.age(31)
    assert clean_all(cleaning(served)) == 1


@pytest.mark.parametrize("step", ["_mark", "rmtree"])
def test_crash_in_the_middle_is_finished_by_the_next_start(
    served: Served, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.whole_way("a")
    served.age(31)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(*((Retention, "_mark") if step == "_mark" else (retention.shutil, "rmtree")), crash)
        with pytest.raises(KeyboardInterrupt):
            cleaning(served).clean_one()
    served.db.close()
    served.open()
    assert cleaning(served).recover() == 1
    assert not list((served.folder / "removing").iterdir())
    assert served.db.fetch("SELECT count(*) AS n FROM instances WHERE removed_at IS NULL")[0]["n"] == 0
    assert clean_all(cleaning(served)) == 0


def test_study_sent_again_after_removal_is_here_again_and_not_read_again(served: Served) -> None:
    paths = served.whole_way("a")
    served.age(31)
    clean_all(cleaning(served))
    served.receive(*paths)
    served.complete()
    assert served.source_files() == 3
    assert served.states() == ["read"]
    assert served.queue.claim() is None


def test_late_image_after_removal_holds_the_study_instead_of_half_a_read(served: Served) -> None:
    paths = served.images("a", count=4)
    served.receive(*paths[:3])
    served.complete()
    served.read()
    served.deliver()
    served.age(31)
    clean_all(cleaning(served))
    served.receive(paths[3])
    served.complete()
    assert served.states() == ["held"]
    assert "removed by retention" in served.db.fetch("SELECT reason FROM studies")[0]["reason"]
    served.receive(*paths)
    uid = str(served.db.fetch("SELECT study_instance_uid FROM studies")[0]["study_instance_uid"])
    StudyRequests(served.db, served.revisions, who="tester").release(uid)
    served.complete()
    assert served.states() == ["waiting"]


def test_our_result_is_known_as_ours_after_its_file_is_gone(served: Served) -> None:
    served.whole_way("a")
    served.age(100)
    clean_all(cleaning(served))
    assert served.result_files() == 0
    assert len(served.db.fetch("SELECT * FROM results")) == 1


def test_timeline_is_forgotten_only_when_nothing_is_left(served: Served) -> None:
    served.whole_way("a")
    served.age(100)
    keeper = cleaning(served, events_days=90.0)
    assert keeper.forget_events() == 0
    clean_all(keeper)
    assert keeper.forget_events() > 0
    assert set(served.actions()) == {"removed"}


def test_erased_study_leaves_nothing_but_the_fact(served: Served) -> None:
    served.whole_way("a")
    served.whole_way("b")
    uid, other = (r["study_instance_uid"] for r in served.db.fetch("SELECT study_instance_uid FROM studies"))
    assert cleaning(served).erase(uid) == 4
    assert [r["study_instance_uid"] for r in served.db.fetch("SELECT * FROM studies")] == [other]
    assert (served.source_files(), served.result_files()) == (3, 1)
    assert served.actions()[-1] == "erased"
    assert uid not in str([tuple(r) for r in served.db.fetch("SELECT * FROM events")])
    with pytest.raises(Misconfigured, match="no study"):
        cleaning(served).erase(uid)


@pytest.mark.parametrize("open_state", [_receiving, _running, _undelivered])
def test_study_that_is_open_is_not_erased(served: Served, open_state: Callable[[Served], None]) -> None:
    open_state(served)
    uid = served.db.fetch("SELECT study_instance_uid FROM studies")[0]["study_instance_uid"]
    with pytest.raises(Misconfigured, match=r"wait, or hold it|deliver"):
        cleaning(served).erase(uid)
    assert served.source_files() == 3
