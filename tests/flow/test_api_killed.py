"""The interface, or the service behind it, is killed: it comes back, and nothing that it answered is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from faults import others
from peers import WetreadProcess
from phantoms import write_series
from reader import ReadersProgram, decision
from remembering_pacs import RememberingPacs
from waiting import until
from wetread.failpoint import REVIEW_POINTS

pytestmark = pytest.mark.peer

Start = Callable[..., WetreadProcess]


def test_interface_that_is_killed_comes_back_and_nothing_it_answered_is_lost(wetread: Start, tmp_path: Path) -> None:
    service = wetread(mode="off", api="")
    jane = ReadersProgram(service)
    job = jane.read(jane.upload(write_series(tmp_path / "study").paths))
    jane.hold(job)
    uid = jane.result(job)["findings"][0]["tracking_uid"]
    jane.decide(job, decision(uid, "accept", "clear"))
    os.kill(_api_process(service), signal.SIGKILL)
    until(lambda: _answers(jane), timeout_s=30, what="the interface answers again")
    review = jane.get(f"/jobs/{job}/review")
    assert (review["findings"][0]["state"], review["findings"][0]["comment"]) == ("accepted", "clear")
    assert review["holder"]["reader"] == jane.reader
    service.kill()
    service.start()
    jane = ReadersProgram(service)
    assert jane.get(f"/jobs/{job}/review") == review
    assert list(jane.events(job))[-1]["state"] == "done"


def test_kill_at_every_step_of_a_review_loses_no_decision_and_sends_nothing_twice(
    wetread: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacs = RememberingPacs()
    armed = tmp_path / "failpoints"
    armed.mkdir()
    monkeypatch.setenv("WETREAD_FAILPOINTS", str(armed))
    service = wetread(pacs_port=pacs.port, mode="off", api='destinations = ["pacs"]\nresearch = true')
    try:
        jane = ReadersProgram(service)
        study = jane.upload(write_series(tmp_path / "study").paths)
        job = jane.read(study)
        jane.hold(job)
        uid = jane.result(job)["findings"][0]["tracking_uid"]
        for point in REVIEW_POINTS:
            (armed / point).touch()
        made = decision(uid, "accept", "certain")
        _persistently(lambda: jane.decide(job, made))
        sign_off = "3f1e5f0a-6f57-4a53-9c5e-3f2f6ad0a001"
        signed = _persistently(lambda: jane.sign(job, id=sign_off))
        assert signed.status_code == 201, signed.text
        assert list(armed.iterdir()) == [], "a step was never reached"
        until(lambda: pacs.reports(study) == 1, what="the signed report is in the PACS")
        service.wait_for_state("read")
        assert pacs.reports(study) == 1
        assert pacs.changed() == []
        review = jane.get(f"/jobs/{job}/review")
        assert (review["version"], review["findings"][0]["comment"]) == (1, "certain")
        assert review["signed"]["id"] == sign_off
        actions = [e["action"] for e in jane.get(f"/studies/{study}")["timeline"]]
        assert (actions.count("finding_accepted"), actions.count("signed")) == (1, 1)
    finally:
        pacs.stop()


def _persistently(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """As the desktop's journal does it: the same again, until there is an answer."""
    pause = threading.Event()
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except httpx.HTTPError:
            assert time.monotonic() < deadline, "no answer within 60 s"
            pause.wait(0.2)


def _answers(program: ReadersProgram) -> bool:
    try:
        return bool(program.get("/health")["state"] == "ok")
    except httpx.HTTPError:
        return False


def _api_process(service: WetreadProcess) -> int:
    """The child that listens at the interface's port."""
    assert service.process is not None
    port = httpx.URL(service.api).port
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if _listens(line, port)}
    for pid in others(service.process.pid):
        held = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
        if any(f"socket:[{inode}]" in held for inode in inodes) and pid != service.process.pid:
            return pid
    raise AssertionError("no process listens")


def _listens(line: str, port: int | None) -> bool:
    fields = line.split()
    return fields[1].endswith(f":{port:04X}") and fields[3] == "0A"
