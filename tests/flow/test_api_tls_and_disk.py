"""The HTTP interface with the hospital's certificate, and on a full disk: what the reader's program hears."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from certificates import Authority, Identity
from faults import no_writes, others
from peers import HOST, PLAIN, WetreadProcess, config
from phantoms import write_series
from reader import ReadersProgram, decision, zipped
from waiting import until
from wetread.dimse.scu import Remote, send_files
from wetread_desktop.client.cards import card_of
from wetread_desktop.client.edge import Edge
from wetread_desktop.client.errors import CertificateRefused, EdgeError, NotAnEdge
from wetread_desktop.client.http import EdgeAddress

pytestmark = pytest.mark.peer

ZIP = {"Content-Type": "application/zip"}
TLS = """
[listener.tls]
certificate = "{ours.certificate}"
key = "{ours.key}"
client_ca = "{ca}"
port = 0
[[listener.called]]
"""


@dataclass(frozen=True)
class Site:
    """A service that speaks HTTPS, and who vouches for it."""

    service: WetreadProcess
    hospital: Authority

    def edge(self, ca: Path | str, *, url: str = "") -> Edge:
        token = (self.service.data / "api.token").read_text().strip()
        return Edge(EdgeAddress(url or self.service.api, token, str(ca)), timeout_s=20.0)


def _begin(folder: Path, bundles: Path, hospital: Authority, ours: Identity) -> WetreadProcess:
    text = config(bundles, mode="off", api="tls = true")
    text = text.replace("[[listener.called]]\n", TLS.format(ours=ours, ca=hospital.certificate))
    process = WetreadProcess(folder, text, program=PLAIN)
    process.start()
    return process


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, threshold_bundles: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("https")
    hospital = Authority(folder / "ca")
    process = _begin(folder / "wetread", threshold_bundles, hospital, hospital.issue("edge"))
    yield Site(process, hospital)
    process.stop()


def test_readers_program_works_over_https_with_the_hospitals_authority(site: Site, tmp_path: Path) -> None:
    assert site.service.api.startswith("https://")
    edge = site.edge(site.hospital.certificate)
    packed = tmp_path / "study.zip"
    packed.write_bytes(zipped(write_series(tmp_path / "study", study_seed="https").paths))
    with packed.open("rb") as stream:
        (study,) = edge.upload(stream, packed.stat().st_size).studies
    until(lambda: [s.study_instance_uid for s in edge.studies()] == [study], what="the study is listed")
    assert edge.study(study).patient.patient_id == "PH-0042"
    assert edge.health().state == "ok"


def test_certificate_of_an_unknown_authority_is_a_card_that_says_what_to_do(site: Site, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger", "Somebody's CA")
    for ca in ("", stranger.certificate):
        with pytest.raises(CertificateRefused) as refused:
            site.edge(ca).studies()
        card = card_of(refused.value, site.service.api)
        assert card.what.text == "The certificate of the edge is not trusted."
        assert "Ask whoever looks after the edge for the certificate of its authority" in card.todo.text
        assert site.service.api in card.details


@pytest.mark.parametrize(
    ("issued", "why"), [({"days": -1}, "expired"), ({"address": "10.9.9.9"}, "IP address mismatch")], ids=str
)
def test_certificate_that_is_over_or_of_another_machine_is_refused(
    tmp_path: Path, threshold_bundles: Path, issued: dict[str, int | str], why: str
) -> None:
    hospital = Authority(tmp_path / "ca")
    ours = hospital.issue("edge", **issued)  # type: ignore[arg-type]
    process = _begin(tmp_path / "wetread", threshold_bundles, hospital, ours)
    try:
        with pytest.raises(CertificateRefused, match=why):
            Site(process, hospital).edge(hospital.certificate).health()
    finally:
        process.stop()


def test_plain_http_at_the_https_port_gets_nothing(site: Site) -> None:
    with pytest.raises(EdgeError) as failed:
        site.edge("", url=site.service.api.replace("https", "http")).health()
    assert not isinstance(failed.value, CertificateRefused)
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{site.service.api.replace('https', 'http')}/api/v1/health")


def test_address_of_another_service_over_https_is_no_edge(site: Site) -> None:
    """The DICOM port does not speak TLS."""
    with pytest.raises(NotAnEdge):
        site.edge(site.hospital.certificate, url=f"https://{HOST}:{site.service.port}").health()


# A disk that takes nothing


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, threshold_bundles: Path) -> Iterator[WetreadProcess]:
    folder = tmp_path_factory.mktemp("full")
    process = WetreadProcess(folder, config(threshold_bundles, mode="off", api=""), program=PLAIN)
    process.start()
    yield process
    process.stop()


def _is_full(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    problem = answer.json()
    assert problem["type"] == "urn:wetread:problem:spool-unavailable"
    assert re.search("cannot be (written|used)|is full", problem["detail"]), problem["detail"]


def test_upload_decision_and_signature_hear_503_on_a_full_disk_and_succeed_when_there_is_room(
    plain: WetreadProcess, tmp_path: Path
) -> None:
    jane = ReadersProgram(plain)
    job = jane.read(jane.upload(write_series(tmp_path / "study").paths))
    jane.hold(job).raise_for_status()
    uid = jane.result(job)["findings"][0]["tracking_uid"]
    other = zipped(write_series(tmp_path / "other", study_seed="other").paths)
    made = decision(uid, "accept", "clear")
    assert plain.process is not None
    with no_writes([plain.process.pid, *others(plain.process.pid)]):
        uploaded = jane.http.post("/studies", content=other, headers=ZIP)
        decided = jane.decide(job, made)
        signed = jane.sign(job, undecided_ok=True)
        assert jane.get("/health")["state"] in ("ok", "failing"), "it still answers"
    for answer in (uploaded, decided, signed):
        _is_full(answer)
    review = jane.get(f"/jobs/{job}/review")
    assert (review["version"], review["signed"]) == (0, None), "nothing half done"
    assert jane.http.post("/studies", content=other, headers=ZIP).status_code == 202
    assert jane.decide(job, made).status_code == 200
    assert jane.sign(job).status_code == 201


def test_reserve_of_the_disk_is_said_with_one_sentence_to_modality_and_reader(
    tmp_path: Path, threshold_bundles: Path
) -> None:
    more_than_there_is = 2 * shutil.disk_usage(tmp_path).free // 2**20
    text = config(threshold_bundles, mode="off", api="")
    text = text.replace("reserve_mb = 64", f"reserve_mb = {more_than_there_is}\n[retention]\nmin_free_mb = 0")
    process = WetreadProcess(tmp_path / "wetread", text, program=PLAIN)
    process.start()
    try:
        paths = write_series(tmp_path / "study", shape=(1, 16, 16)).paths
        answer = ReadersProgram(process).http.post("/studies", content=zipped(paths), headers=ZIP)
        (report,) = send_files(Remote(HOST, process.port, "WETREAD", "CT1"), paths)
    finally:
        process.stop()
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:wetread:problem:spool-unavailable")
    assert "0xA700" in report.answer
    said, heard = (re.sub(r"\d+", "N", text) for text in (answer.json()["detail"], report.comment))
    assert heard
    assert said.startswith(heard), "DICOM's comment ends after 64 characters"
