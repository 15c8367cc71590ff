"""The HTTP interface of a running ``wetread serve``, as programs and attackers meet it."""

from __future__ import annotations

import io
import itertools
import json
import socket
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pytest

from gated_bundle import Gate, write_gated_bundle
from peers import PLAIN, WetreadProcess, config
from phantoms import write_series
from reader import JOHN, ReadersProgram, decision, zipped
from waiting import until
from wetread.errors import WetreadError
from wetread_desktop.client.edge import Edge
from wetread_desktop.client.errors import NotHere
from wetread_desktop.client.fetching import fetch_study
from wetread_desktop.client.http import EdgeAddress

pytestmark = pytest.mark.peer

ZIP = {"Content-Type": "application/zip"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, threshold_bundles: Path) -> Iterator[WetreadProcess]:
    """One service for all tests of this file that leave it as it is."""
    toml = config(threshold_bundles, mode="off", api="max_upload_mb = 64")
    process = WetreadProcess(tmp_path_factory.mktemp("api"), toml, program=PLAIN)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def jane(service: WetreadProcess) -> ReadersProgram:
    return ReadersProgram(service)


@pytest.fixture(scope="module")
def done(service: WetreadProcess, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A read."""
    program = ReadersProgram(service)
    return program.read(program.upload(write_series(tmp_path_factory.mktemp("study")).paths))


def kept(service: WetreadProcess) -> int:
    return sum(1 for _ in (service.data / "spool").rglob("*.dcm"))


# Who may ask


@pytest.mark.parametrize(
    "shown", [b"", b"Bearer", b"Bearer wrong-token-wrong-token", b"Bearer \xdcnicode", b"Basic eDp5"]
)
def test_every_call_but_health_asks_for_the_token(service: WetreadProcess, done: str, shown: bytes) -> None:
    for path in ("/studies", f"/jobs/{done}/result", "/openapi.json", "/nowhere"):
        answer = httpx.get(f"{service.api}/api/v1{path}", headers=[(b"Authorization", shown)])
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    health = httpx.get(f"{service.api}/api/v1/health")
    assert health.json()["state"] == "ok"
    assert set(health.json()) == {"state", "version", "api", "problems"}


@pytest.mark.parametrize("path", ["/studies", "/jobs"])
def test_state_that_nothing_can_have_is_refused_with_those_that_are(jane: ReadersProgram, path: str) -> None:
    answer = jane.http.get(path, params={"state": "foo"})
    assert answer.status_code == 422
    assert "waiting|" in answer.json()["detail"]
    assert jane.http.get(path, params={"state": "waiting"}).status_code == 200


def test_problems_have_the_sentences_of_the_command_line(service: WetreadProcess, jane: ReadersProgram) -> None:
    with pytest.raises(WetreadError) as said:
        service.overview.study("1.2.3")
    answer = jane.http.get("/studies/1.2.3")
    assert answer.status_code == 404
    assert answer.json() == {
        "type": "urn:wetread:problem:not-here",
        "title": "Not Found",
        "status": 404,
        "detail": str(said.value),
    }
    assert answer.headers["wetread-api"] == "1"


def test_what_a_reader_decides_needs_the_readers_name(jane: ReadersProgram, done: str) -> None:
    jane.http.headers.pop("Wetread-Reader")
    assert jane.hold(done).status_code == 422
    for name in ("a%5Cb", "%00", "%ff", "A%5EB%5EC%5ED%5EE%5EF"):
        jane.http.headers["Wetread-Reader"] = name
        assert jane.hold(done).status_code == 422, name


# Uploads


def test_zip_with_names_that_lead_out_is_refused_as_a_whole(
    service: WetreadProcess, jane: ReadersProgram, tmp_path: Path
) -> None:
    paths = write_series(tmp_path / "study", study_seed="slip", shape=(2, 16, 16)).paths
    before = kept(service)
    for name in ("../evil.dcm", "/etc/evil.dcm", "a/../../evil", "..\\evil.dcm", "C:\\evil.dcm", "\\evil"):
        body = zipped(paths, **{name: paths[0].read_bytes()})
        answer = jane.http.post("/studies", content=body, headers=ZIP)
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:wetread:problem:upload-refused"), name
    assert kept(service) == before
    assert not list(service.folder.rglob("evil*"))


def test_zip_bomb_is_refused_before_it_is_unpacked(service: WetreadProcess, jane: ReadersProgram) -> None:
    before = kept(service)
    answer = jane.http.post("/studies", content=zipped([], bomb=bytes(65 * 2**20)), headers=ZIP)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:wetread:problem:upload-too-large")
    answer = jane.http.post("/studies", content=lying_zip(bytes(65 * 2**20)), headers=ZIP)
    assert answer.status_code == 202
    assert answer.json()["kept"] == 0
    assert "damaged" in answer.json()["refused"][0]["reason"] or "no DICOM" in answer.json()["refused"][0]["reason"]
    assert kept(service) == before
    too_much = (bytes(2**20) for _ in range(66))
    answer = jane.http.post("/studies", content=too_much, headers=ZIP)
    assert answer.status_code == 413


def lying_zip(content: bytes) -> bytes:
    """Says that its one file is small."""
    body = bytearray(zipped([], bomb=content))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        size = archive.infolist()[0].file_size
    for at in _places(body, struct.pack("<L", size)):
        body[at : at + 4] = struct.pack("<L", 1000)
    return bytes(body)


def _places(body: bytes, what: bytes) -> Iterator[int]:
    at = body.find(what)
    while at >= 0:
        yield at
        at = body.find(what, at + 1)


def test_what_is_no_image_is_named_and_the_rest_is_kept(
    service: WetreadProcess, jane: ReadersProgram, tmp_path: Path
) -> None:
    paths = write_series(tmp_path / "study", study_seed="mixed", shape=(3, 16, 16)).paths
    body = zipped(paths, **{"README.TXT": b"hello", "DICOMDIR": b"x", "cut.dcm": paths[0].read_bytes()[:300]})
    answer = jane.http.post("/studies", content=body, headers=ZIP).json()
    assert (answer["kept"], len(answer["studies"])) == (3, 1)
    assert [r["name"] for r in answer["refused"]] == ["README.TXT", "DICOMDIR", "cut.dcm"]
    files = [("files", (f"../../{n}.dcm", p.read_bytes(), "application/dicom")) for n, p in enumerate(paths)]
    again = jane.http.post("/studies", files=[*files, ("files", ("note.txt", b"hi", "text/plain"))]).json()
    assert (again["kept"], again["studies"]) == (3, answer["studies"])
    assert [r["name"] for r in again["refused"]] == ["note.txt"]


def test_bodies_that_are_nothing_are_refused_with_the_reason(jane: ReadersProgram) -> None:
    assert jane.http.post("/studies", content=b"x", headers=ZIP).status_code == 422
    assert jane.http.post("/studies", content=b"").status_code == 415
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert jane.http.post("/studies", content=b"--y\r\n", headers=form).status_code == 422
    assert jane.http.post("/jobs", content=b"{" * 2000).status_code == 422
    assert jane.http.post("/jobs", content=bytes(2 * 2**20)).status_code == 413


# Reads


def test_progress_ends_with_the_state_and_says_nothing_twice(jane: ReadersProgram, tmp_path: Path) -> None:
    study = jane.upload(write_series(tmp_path / "study", study_seed="progress").paths)
    job = jane.http.post("/jobs", json={"study_instance_uid": study, "bundle": "threshold"}).json()["id"]
    events = list(jane.events(job))
    assert events[-1]["state"] == "done"
    assert set(events[-1]) == {"state", "stage", "percent", "queue_place", "eta_s", "code", "reason"}
    percents = [e["percent"] for e in events if e["state"] != "waiting"]
    assert percents == sorted(percents)
    assert not [1 for a, b in itertools.pairwise(events) if a == b]
    (again,) = jane.events(job)
    assert again == events[-1]


def test_bundle_that_does_not_fit_says_why_and_is_not_read(jane: ReadersProgram, tmp_path: Path) -> None:
    study = jane.upload(write_series(tmp_path / "ct", study_seed="ct", modality="CT").paths)
    (bundle,) = jane.get(f"/studies/{study}/bundles")
    assert not bundle["fits"]
    assert "modality is CT, expected MR" in bundle["reason"]
    answer = jane.http.post("/jobs", json={"study_instance_uid": study, "bundle": "threshold"})
    assert (answer.status_code, answer.json()["detail"]) == (422, bundle["reason"])
    assert jane.http.post("/jobs", json={"study_instance_uid": study, "bundle": "../threshold"}).status_code == 404


def test_cancel_ends_a_running_read_and_frees_its_worker_within_two_seconds(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    write_gated_bundle(tmp_path / "bundles" / "threshold", gate)
    service = WetreadProcess(tmp_path / "w", config(tmp_path / "bundles", mode="off", api=""), program=PLAIN)
    service.start()
    try:
        jane = ReadersProgram(service)
        study = jane.upload(write_series(tmp_path / "study").paths)
        ask = {"study_instance_uid": study, "bundle": "threshold"}
        job = jane.http.post("/jobs", json=ask).json()["id"]
        until(lambda: gate.loaded and jane.get(f"/jobs/{job}")["state"] == "running", what="the read runs")
        started = time.monotonic()
        assert jane.http.delete(f"/jobs/{job}").status_code == 202
        assert list(jane.events(job))[-1]["state"] == "cancelled"
        assert time.monotonic() - started < 2.0
        gate.open()
        assert jane.http.post("/jobs", json=ask).status_code == 202
        assert list(jane.events(job))[-1]["state"] == "done"
        assert jane.http.delete(f"/jobs/{job}").status_code == 409
    finally:
        service.stop()


def test_images_come_in_slice_order_byte_for_byte(jane: ReadersProgram, tmp_path: Path) -> None:
    phantom = write_series(tmp_path / "study", study_seed="order", orientation="oblique", reverse=True)
    study = jane.upload(phantom.paths)
    # An upload is acknowledged when it is on disk; a moment later the study is in the index.
    until(lambda: jane.http.get(f"/studies/{study}").json().get("state") == "not read", what="the study is complete")
    listed = jane.get(f"/studies/{study}/series/{phantom.series().series_instance_uid}/instances")
    order = [i["sop_instance_uid"] for i in listed]
    job = jane.read(study)
    assert order == jane.result(job)["input"]["sop_instance_uids"]
    by_uid = {i.sop_instance_uid: i.path for i in phantom.series().instances}
    received = jane.http.get(listed[0]["url"].removeprefix("/api/v1")).content
    assert received[-1000:] == by_uid[order[0]].read_bytes()[-1000:]
    pictures = jane.get(f"/jobs/{job}/key-images")
    picture = jane.http.get(f"/jobs/{job}/key-images/1.png")
    assert picture.content.startswith(b"\x89PNG")
    assert pictures[0]["sop_instance_uid"] == order[pictures[0]["slice_number"] - 1]


def test_desktop_fetches_the_images_of_a_study_as_they_were_received_and_stops_when_nobody_waits(
    service: WetreadProcess, jane: ReadersProgram, tmp_path: Path
) -> None:
    phantom = write_series(tmp_path / "study", study_seed="fetched", shape=(9, 16, 16))
    study = jane.upload(phantom.paths)
    until(lambda: jane.http.get(f"/studies/{study}").json().get("instances") == 9, what="the images are in the index")
    edge = Edge(EdgeAddress(service.api, (service.data / "api.token").read_text().strip()))
    (tmp_path / "fetched").mkdir()
    assert fetch_study(edge, study, tmp_path / "fetched", stopped=lambda: False) == 9
    sent = {pydicom.dcmread(p).SOPInstanceUID: p.read_bytes()[-600:] for p in phantom.paths}
    came = {pydicom.dcmread(p).SOPInstanceUID: p.read_bytes()[-600:] for p in (tmp_path / "fetched").iterdir()}
    assert came == sent
    (tmp_path / "stopped").mkdir()
    fetch_study(edge, study, tmp_path / "stopped", stopped=lambda: True)
    assert not list((tmp_path / "stopped").iterdir())
    with pytest.raises(NotHere, match=r"1\.2\.3\.4"):
        fetch_study(edge, "1.2.3.4", tmp_path / "stopped", stopped=lambda: False)


def test_second_reader_takes_over_and_what_the_first_decided_stays(
    service: WetreadProcess, jane: ReadersProgram, tmp_path: Path
) -> None:
    john = ReadersProgram(service, JOHN)
    job = jane.read(jane.upload(write_series(tmp_path / "study", study_seed="two").paths))
    uid = jane.result(job)["findings"][0]["tracking_uid"]
    assert jane.decide(job, decision(uid, "accept")).json()["type"].endswith("held-by-another"), "nobody holds it"
    jane.hold(job)
    first = decision(uid, "reject", "motion")
    assert jane.decide(job, first, first).json()["version"] == 1
    assert john.hold(job, take_over=True).json()["version"] == 1
    assert jane.decide(job, first).status_code == 200, "taken before: not refused"
    assert jane.decide(job, decision(uid, "accept")).status_code == 409
    assert john.decide(job, decision(uid, "comment", "")).json()["findings"][0]["state"] == "rejected"
    assert john.decide(job, decision("1.2.3", "accept")).status_code == 422
    assert john.decide(job, decision(uid, "accept") | {"id": first["id"][:-1] + "x"}).status_code == 422
    wrong = {"patient_id": "SOMEBODY-ELSE", "study_instance_uid": jane.result(job)["study_instance_uid"]}
    assert john.sign(job, confirm=wrong).status_code == 422
    assert john.sign(job, reader={"name": jane.reader}).status_code == 422
    assert john.sign(job, reader={"name": john.reader}).status_code == 422, "no organization"
    assert json.loads(john.sign(job).text)["reader"] == JOHN
    assert john.http.delete(f"/jobs/{job}/review/holder").status_code == 204
    assert john.decide(job, decision(uid, "accept")).json()["type"].endswith("already-signed")


# Faults


def test_clients_that_hang_stop_neither_the_interface_nor_the_coordinator(
    service: WetreadProcess, jane: ReadersProgram, done: str, tmp_path: Path
) -> None:
    host = httpx.URL(service.api)
    hanging = []
    for _ in range(20):
        connection = socket.create_connection((host.host, host.port or 80))
        connection.sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n")
        hanging.append(connection)
    try:
        assert jane.result(done)["findings"]
        jane.read(jane.upload(write_series(tmp_path / "study", study_seed="hanging").paths))
    finally:
        for connection in hanging:
            connection.close()
