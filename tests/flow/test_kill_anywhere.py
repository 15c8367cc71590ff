"""``kill -9`` of each process at each state of instance, job and result, and at random moments.

Every time: what was acknowledged is read (lost 0), each study has one report and no object ever changed (duplicates 0),
and every study ends in a final state (stuck 0). ``make soak`` takes 200 random rounds.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peers import WetreadProcess, storescu
from phantoms import Phantom, write_series
from remembering_pacs import RememberingPacs
from waiting import until
from wetread.failpoint import POINTS

pytestmark = pytest.mark.peer

ROUNDS = int(os.environ.get("KILL_ROUNDS", "10"))
Start = Callable[..., WetreadProcess]
EVIDENCE = {"quiet_s": 10.0, "ct1": "complete_on_release = true"}
"""A study is complete when its sender says so: half of it may lie quiet for as long as a killed process needs to come
back, and reading that would be right, but makes a second report."""


@pytest.fixture
def pacs() -> Iterator[RememberingPacs]:
    pacs = RememberingPacs()
    yield pacs
    pacs.stop()


class Sender:
    """A modality that sends its study until everything was acknowledged, as modalities do."""

    def __init__(self, service: WetreadProcess, paths: list[Path]) -> None:
        self.acknowledged = threading.Event()
        self._service = service
        self._paths = paths
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(timeout=60)
        assert self.acknowledged.is_set(), "the study could not be sent within 60 s"

    def _send(self) -> None:
        pause = threading.Event()
        while storescu(self._service.port, self._paths).returncode != 0:
            pause.wait(0.1)
        self.acknowledged.set()


def keep_running(service: WetreadProcess) -> None:
    """What systemd does: start it again when it ended, also while it was starting."""
    while service.process is None or service.process.poll() is not None:
        with contextlib.suppress(AssertionError):
            service.start()


def _done(service: WetreadProcess, pacs: RememberingPacs, study: Phantom) -> bool:
    keep_running(service)
    states = [s["state"] for s in service.overview.studies(uid=study.study_instance_uid)]
    return states == ["read"] and pacs.reports(study.study_instance_uid) > 0


def _ends(service: WetreadProcess, pacs: RememberingPacs) -> dict[str, tuple[str, int, int]]:
    """Study Instance UID → its state, its instances and its reports in the PACS."""
    studies = {s["study_instance_uid"]: s for s in service.overview.studies(limit=ROUNDS + 1)}
    return {uid: (shown["state"], shown["instances"], pacs.reports(uid)) for uid, shown in studies.items()}


def test_each_process_dies_at_each_state_and_nothing_is_lost_doubled_or_stuck(
    wetread: Start, pacs: RememberingPacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed = tmp_path / "failpoints"
    armed.mkdir()
    for name in POINTS:
        (armed / name).touch()
    monkeypatch.setenv("WETREAD_FAILPOINTS", str(armed))
    service = wetread(pacs_port=pacs.port, **EVIDENCE)
    study = write_series(tmp_path / "study", study_seed="each")
    sender = Sender(service, list(study.paths))
    until(lambda: _done(service, pacs, study), timeout_s=240, what="the study is read and delivered")
    sender.join()
    assert list(armed.iterdir()) == [], "a state was never reached"
    assert _ends(service, pacs) == {study.study_instance_uid: ("read", len(study.paths), 1)}
    assert pacs.changed() == []


def test_random_kills_lose_double_and_block_nothing(wetread: Start, pacs: RememberingPacs, tmp_path: Path) -> None:
    service = wetread(pacs_port=pacs.port, **EVIDENCE)
    chance = random.Random(20261122)
    pause = threading.Event()
    studies = []
    for number in range(ROUNDS):
        study = write_series(tmp_path / f"study{number}", study_seed=f"round {number}")
        sender = Sender(service, list(study.paths))
        pause.wait(chance.uniform(0.0, 2.5))
        _kill_one(service, chance)
        until(lambda: _done(service, pacs, study), timeout_s=120, what=f"round {number}: read and delivered")  # noqa: B023
        sender.join()
        studies.append(study)
    assert _ends(service, pacs) == {s.study_instance_uid: ("read", len(s.paths), 1) for s in studies}
    assert pacs.changed() == []


def _kill_one(service: WetreadProcess, chance: random.Random) -> None:
    """The coordinator, a listener or a worker."""
    assert service.process is not None
    chosen = chance.choice([service.process.pid, *_descendants(service.process.pid)])
    try:
        os.kill(chosen, signal.SIGKILL)
    except ProcessLookupError:
        return
    if chosen == service.process.pid:
        service.process.wait(timeout=10)


def _descendants(pid: int) -> list[int]:
    """Processes this one started, and those they started."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *_descendants(child)]
    return found
