"""Routes on a running service: shadow beside live, pause and resume, replay, cancel; through the command line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peers import HOST, PLAIN, Orthanc, WetreadProcess, config, storescu
from phantoms import write_series
from threshold_bundle import write_threshold_bundle
from waiting import until
from wetread.cli.main import run

pytestmark = pytest.mark.peer

Start = Callable[..., WetreadProcess]

_SECOND_ROUTE = """
[[routes]]
name = "candidate"
mode = "{mode}"
when = '"MR" in study.modalities'
bundle = "threshold2"
"""


def ask(capsys: pytest.CaptureFixture[str], service: WetreadProcess, *words: str, code: int = 0) -> Any:
    """Run a command with --json; what it printed."""
    capsys.readouterr()
    assert run([*words, "--config", str(service.config), "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def two_bundles(tmp_path: Path) -> Path:
    """The threshold bundle and a candidate for its place, which marks less."""
    write_threshold_bundle(tmp_path / "bundles" / "threshold")
    write_threshold_bundle(tmp_path / "bundles" / "threshold2", threshold=900.0)
    return tmp_path / "bundles"


def test_shadow_read_sends_nothing_and_is_compared_with_the_live_one(
    tmp_path: Path, two_bundles: Path, orthanc: Orthanc, capsys: pytest.CaptureFixture[str]
) -> None:
    orthanc.start()
    toml = config(two_bundles, pacs_port=orthanc.dicom_port) + _SECOND_ROUTE.format(mode="shadow")
    service = WetreadProcess(tmp_path / "wetread", toml, program=PLAIN)
    service.start()
    try:
        storescu(service.port, write_series(tmp_path / "study").paths)
        until(lambda: len(jobs := ask(capsys, service, "jobs", "list")["jobs"]) == 2 and jobs, what="two reads")
        shadow = until(lambda: _compared(capsys, service), timeout_s=240, what="the comparison is stored")
        study = service.wait_for_state("read")
    finally:
        assert service.stop() == 0
    (comparison,) = shadow["comparisons"]
    assert comparison["problem"] == ""
    (structure,) = comparison["structures"]
    volume = structure["measurements"][0]
    assert structure["verdict"] == "both present"
    assert volume["shadow"] < volume["live"]
    # Every voxel the candidate marks is marked by the live one too, so Dice follows from the volumes.
    expected = 2 * volume["shadow"] / (volume["shadow"] + volume["live"])
    assert structure["dice"] == pytest.approx(expected, rel=1e-6)
    assert shadow["deliveries"] == []
    live = next(j for j in study["jobs"] if j["mode"] == "live")
    assert sum(i["Modality"] == "SEG" for i in orthanc.instances()) == 1
    assert [c["shadow_job_id"] for c in ask(capsys, service, "jobs", "show", live["id"])["comparisons"]] == [
        shadow["id"]
    ]
    assert [j["id"] for j in ask(capsys, service, "jobs", "list", "--route", "candidate")["jobs"]] == [shadow["id"]]


def _compared(capsys: pytest.CaptureFixture[str], service: WetreadProcess) -> Any:
    (job,) = ask(capsys, service, "jobs", "list", "--route", "candidate")["jobs"]
    shown = ask(capsys, service, "jobs", "show", job["id"])
    return shown if shown["comparisons"] and shown["comparisons"][0]["compared_at"] else None


def test_pause_holds_reads_and_results_survives_restart_and_reception_goes_on(
    wetread: Start, orthanc: Orthanc, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = wetread(pacs_port=orthanc.dicom_port)
    storescu(service.port, write_series(tmp_path / "first", study_seed="first").paths)
    service.wait_for_state("delivering")  # the PACS is not there yet
    ask(capsys, service, "route", "pause", "--route", "t1", "--reason", "volumes look wrong")
    orthanc.start()
    storescu(service.port, write_series(tmp_path / "second", study_seed="second").paths)
    until(lambda: service.states().count("waiting") == 1, what="the second study waits to be read")
    service.stop()
    service.start()
    storescu(service.port, write_series(tmp_path / "third", study_seed="third").paths)
    until(lambda: service.states().count("waiting") == 2, what="the third study waits to be read")
    assert orthanc.instances() == []
    (route,) = ask(capsys, service, "route", "list")["routes"]
    assert route["paused"][0]["reason"] == "volumes look wrong"
    (done,) = ask(capsys, service, "jobs", "list", "--state", "done")["jobs"]
    objects = ask(capsys, service, "jobs", "show", done["id"])["deliveries"]
    assert {d["state"] for d in objects} == {"pending"}
    assert route["reads"] == {"done": 1, "waiting": 2, "to_send": len(objects)}
    assert {s["reason"] for s in service.overview.studies() if s["state"] == "waiting"} == {
        "paused: volumes look wrong"
    }
    resumed = time.monotonic()
    ask(capsys, service, "route", "resume", "--route", "t1")
    until(orthanc.instances, what="the first result is sent")
    assert time.monotonic() - resumed < 10.0
    until(lambda: service.states().count("read") == 3, what="all are read and sent")


def test_pause_of_an_unknown_route_names_the_nearest(wetread: Start, capsys: pytest.CaptureFixture[str]) -> None:
    service = wetread(mode="shadow")
    said = ask(capsys, service, "route", "pause", "--route", "t11", "--reason", "x", code=2)
    assert said["reason"] == "there is no route 't11'; did you mean 't1'?"


def test_replay_says_what_would_be_read_and_sent_and_does_nothing(
    tmp_path: Path, two_bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = config(two_bundles, mode="shadow") + _SECOND_ROUTE.format(mode="off")
    service = WetreadProcess(tmp_path / "wetread", toml, program=PLAIN)
    service.start()
    try:
        storescu(service.port, write_series(tmp_path / "t1", study_seed="t1").paths)
        service.wait_for_state("read")
        storescu(service.port, write_series(tmp_path / "t2", study_seed="t2", description="T2 TSE").paths)
        until(lambda: sorted(service.states()) == ["read", "rejected"])
    finally:
        service.stop()
    before = ask(capsys, service, "jobs", "list")
    as_is = ask(capsys, service, "route", "replay", "--last", "5")
    assert as_is["routes"] == {"t1": {"read": 1, "sent": 0, "rejected": 1}}
    t2, t1 = (study["routes"][0] for study in as_is["studies"])
    assert (t1["outcome"], t1["recorded"], t1["not_sent_because"]) == ("read", "read", "the route is shadow")
    assert t1["read_before"] == [before["jobs"][0]["id"]]
    assert t2["not_sent_because"].startswith("rejected: no series fits")
    candidate = ask(capsys, service, "route", "replay", "--last", "1", "--route", "candidate")
    assert [r["mode"] for r in candidate["studies"][0]["routes"]] == ["off"]
    service.config.write_text(service.config.read_text().replace('mode = "shadow"', 'mode = "live"'))
    live = ask(capsys, service, "route", "replay", "--last", "5")
    assert live["routes"]["t1"]["sent"] == 1
    assert live["studies"][1]["routes"][0]["would_send_to"] == ["pacs"]
    ask(capsys, service, "route", "pause", "--all", "--reason", "holiday")
    paused = ask(capsys, service, "route", "replay", "--last", "5")
    assert paused["studies"][1]["routes"][0]["not_sent_because"] == "everything is paused: holiday"
    assert ask(capsys, service, "jobs", "list") == before


def test_cancel_frees_a_worker_that_does_not_move_within_two_seconds(
    wetread: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = wetread(mode="shadow")
    storescu(service.port, write_series(tmp_path / "study", shape=(40, 200, 200), spacing_mm=(2, 1, 1)).paths)
    until(lambda: service.states() == ["reading"], what="the read has begun")
    (job,) = ask(capsys, service, "jobs", "list", "--state", "running")["jobs"]
    asked = time.monotonic()
    shown = ask(capsys, service, "jobs", "cancel", job["id"][:6])
    assert (shown["state"], shown["reason"]) == ("cancelled", "cancelled by a person")
    assert time.monotonic() - asked < 2.0
    ask(capsys, service, "jobs", "retry", job["id"])
    service.wait_for_state("read")
    shown = ask(capsys, service, "jobs", "show", job["id"])
    assert [a["outcome"] for a in shown["attempts_made"]] == ["cancelled", "done"]
    actions = [e["action"] for e in service.only_study()["timeline"] if e["job_id"]]
    asked_for = ["queued", "claimed", "cancel_asked", "cancelled", "retry", "claimed", "read"]
    assert [a for a in actions if a in asked_for] == asked_for


def test_sigterm_waits_for_the_read_under_way_and_a_second_one_does_not(wetread: Start, tmp_path: Path) -> None:
    service = wetread(mode="shadow")
    big = {"shape": (40, 200, 200), "spacing_mm": (2, 1, 1)}
    storescu(service.port, write_series(tmp_path / "first", study_seed="first", **big).paths)
    until(lambda: service.states() == ["reading"], what="the read has begun")
    assert service.stop() == 0
    assert service.states() == ["read"]
    service.start()
    storescu(service.port, write_series(tmp_path / "second", study_seed="second", **big).paths)
    until(lambda: "reading" in service.states(), what="the second read has begun")
    process = service.process
    assert process is not None
    for worker in _workers(process.pid):
        os.kill(worker, signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    until(lambda: not _listens(service.port), what="the first SIGTERM is heeded")
    assert process.poll() is None
    asked = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - asked < 10.0, "it waited for the frozen read"
    assert sorted(service.states()) == ["read", "waiting"]


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=5.0):
        return True
    return False


def _workers(service: int) -> list[int]:
    """The service's children that gave way to the listeners (nice 5); proc(5), fields 4 and 19 of stat."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue  # it has ended
        fields = rest.split()
        if int(fields[1]) == service and int(fields[16]) == 5:
            found.append(int(pid.split(" ", 1)[0]))
    assert found, "the service has no worker"
    return found
