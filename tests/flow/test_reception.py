"""Reception as a site has it: a service with two ports, peers of several kinds, a disk that fills up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from requests import HTTPError

from certificates import Authority, Identity
from peers import HOST, PLAIN, WetreadProcess, config, echoscu, free_port, storescu
from phantoms import write_series
from waiting import until
from wetread.cli.main import run
from wetread.db import Database

TLS = """
[listener.tls]
certificate = "{ours.certificate}"
key = "{ours.key}"
client_ca = "{ca}"
port = {port}
[[listener.called]]
ae_title = "WETREAD_NOW"
priority = "interactive"
[[listener.called]]
ae_title = "WETREAD_BG"
priority = "background"
[[listener.called]]
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def ours(authority: Authority) -> Identity:
    return authority.issue("wetread")


@pytest.fixture
def tls_port() -> int:
    return free_port()


@pytest.fixture
def service(
    tmp_path: Path, threshold_bundles: Path, authority: Authority, ours: Identity, tls_port: int
) -> Iterator[WetreadProcess]:
    """Its own PACS, for ``peers echo``, is itself."""
    text = config(threshold_bundles, mode="off", pacs_port=tls_port)
    text = text.replace("[[listener.called]]\n", TLS.format(ours=ours, ca=authority.certificate, port=tls_port))
    text = text.replace('ae_title = "ORTHANC"', f'ae_title = "WETREAD_NOW"\ntls = true\nca = "{authority.certificate}"')
    process = WetreadProcess(tmp_path / "wetread", text, program=PLAIN)
    process.start()
    yield process
    process.stop()


def query(service: WetreadProcess, statement: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in Database(service.data / "wetread.db").fetch(statement)]


def test_ports_with_and_without_tls_are_open_at_once(
    service: WetreadProcess, tls_port: int, authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_series(tmp_path / "study", shape=(4, 32, 32)).paths
    client = authority.issue("ct1")
    tls = ["+tls", str(client.key), str(client.certificate), "+cf", str(authority.certificate)]
    assert storescu(service.port, paths[:2]).returncode == 0
    assert storescu(tls_port, paths[2:], options=tls).returncode == 0
    ends = "SELECT peer, ended, instances FROM associations ORDER BY ended_at"
    until(lambda: query(service, ends) == [("ct1", "released", 2)] * 2, what="both ends are known")
    linked = "SELECT count(*) FROM instances i JOIN associations a ON a.id = i.association_id"
    assert query(service, linked) == [(4,)]
    assert run(["peers", "list", "--config", str(service.config)]) == 0
    assert "last sent" in capsys.readouterr().out


def test_serve_says_every_port_and_address_it_listens_on_and_under_which_titles(
    service: WetreadProcess, tls_port: int, tmp_path: Path
) -> None:
    service.stop()
    (service.folder / "gateway.token").touch(mode=0o600)
    (service.folder / "gateway.token").write_text("a token of sixteen or more\n")
    ports = {"stow": free_port(), "api": free_port()}
    api = f"[api]\nport = {ports['api']}\ntls = true\n"
    text = service.config.read_text().replace("[api]\nenabled = false\nport = 0\n", api)
    text = text.replace("port = 0\n", f"port = {service.port}\n")
    stow = f'[stow]\nport = {ports["stow"]}\n[[stow.clients]]\nname = "gateway"\ntoken_file = "gateway.token"\n'
    service.config.write_text(text + stow)
    command = [sys.executable, "-m", "wetread", "serve", "--config", str(service.config)]
    with service.open_log() as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().rstrip() for _ in range(5)]
        process.terminate()
    titles = "WETREAD_NOW, WETREAD_BG, WETREAD"
    assert said == [
        "Wetread listens; Ctrl-C stops it",
        f"  DICOM       127.0.0.1:{service.port} as {titles}",
        f"  DICOM, TLS  127.0.0.1:{tls_port} as {titles}",
        f"  STOW-RS     http://127.0.0.1:{ports['stow']}/dicomweb/studies",
        f"  HTTP API    https://127.0.0.1:{ports['api']}/api/v1",
    ], service.log()


def test_called_title_sets_the_priority_of_the_study(service: WetreadProcess, tmp_path: Path) -> None:
    for number, called in enumerate(("WETREAD", "WETREAD_NOW", "WETREAD_BG")):
        paths = write_series(tmp_path / str(number), shape=(2, 16, 16), study_seed=called).paths
        assert storescu(service.port, paths, called=called).returncode == 0
    priorities = "SELECT priority FROM studies ORDER BY id"
    until(lambda: query(service, priorities) == [(0,), (10,), (-10,)])
    assert storescu(service.port, paths[:1], called="WETREAD_NOW").returncode == 0
    until(lambda: query(service, priorities) == [(0,), (10,), (10,)], what="the highest of several titles counts")


def test_echo_to_a_tls_peer_shows_our_certificate(service: WetreadProcess, capsys: pytest.CaptureFixture[str]) -> None:
    """The service echoes itself on its TLS port, which asks for a client certificate."""
    assert run(["peers", "echo", "pacs", "--config", str(service.config)]) == 0
    assert "answers C-ECHO" in capsys.readouterr().out
    service.config.write_text(service.config.read_text().replace("tls = true\n", ""))
    assert run(["peers", "echo", "pacs", "--config", str(service.config)]) == 2
    assert "has a certificate but not tls" in capsys.readouterr().err


def test_refused_callers_of_both_ports_are_listed(
    service: WetreadProcess, tls_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert echoscu(service.port, calling="ct1").returncode != 0
    assert echoscu(service.port, called="wetread").returncode != 0
    assert echoscu(tls_port).returncode != 0
    until(lambda: len(service.overview.refusals()) == 3)
    assert run(["peers", "refused", "--config", str(service.config), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["refused"]
    assert {r["address"] for r in rows} == {HOST}
    assert {r["hint"].partition(":")[0] for r in rows} == {
        "differs from 'CT1' only in upper and lower case",
        "differs from 'WETREAD' only in upper and lower case",
        "switch TLS on at the sender, or let it call the other port",
    }
    capsys.readouterr()
    run(["doctor", "--config", str(service.config)])
    assert "refused caller" in capsys.readouterr().out


def test_study_sent_by_stow_takes_the_same_way(
    tmp_path: Path, threshold_bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token, port = "a token of sixteen or more", free_port()
    folder = tmp_path / "wetread"
    folder.mkdir()
    (folder / "gateway.token").touch(mode=0o600)
    (folder / "gateway.token").write_text(token + "\n")
    stow = f'[stow]\nport = {port}\n[[stow.clients]]\nname = "gateway"\ntoken_file = "gateway.token"\n'
    service = WetreadProcess(folder, config(threshold_bundles, mode="shadow") + stow, program=PLAIN)
    service.start()
    try:
        phantom = write_series(tmp_path / "study", shape=(10, 32, 32))
        datasets = [pydicom.dcmread(p) for p in phantom.paths]
        url, headers = f"http://{HOST}:{port}/dicomweb", {"Authorization": f"Bearer {token}"}
        answer = DICOMwebClient(url, headers=headers).store_instances(datasets)
        assert len(answer.ReferencedSOPSequence) == 10
        service.wait_for_state("read")
        assert query(service, "SELECT DISTINCT peer FROM instances") == [("gateway",)]
        assert query(service, "SELECT peer, ended, instances FROM associations") == [("gateway", "released", 10)]
        with pytest.raises(HTTPError, match="401"):
            DICOMwebClient(url).store_instances(datasets[:1])
        until(service.overview.refusals)
        assert "STOW-RS with neither token nor certificate" in service.overview.refusals()[0]["reason"]
        with pytest.raises(HTTPError, match="401"):
            DICOMwebClient(url, headers={"Authorization": "Bearer of-nothing"}).store_instances(datasets[:1])
        until(lambda: len(service.overview.refusals()) == 2, what="each reason has its line")
        assert "STOW-RS with a wrong token" in service.overview.refusals()[0]["reason"]
        service.kill()
        service.start()
        DICOMwebClient(url, headers=headers).store_instances(datasets[:1])
    finally:
        service.stop()
    (folder / "gateway.token").chmod(0o644)
    assert run(["serve", "--config", str(service.config)]) == 2
    assert "others may read the token file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stow", "sentence"),
    [
        ('[[stow.clients]]\nname = "a"', "neither token_file nor certificate"),
        ('[stow]\nhost = "0.0.0.0"\n[[stow.clients]]\nname = "a"\ntoken_file = "t"', "over loopback only"),
        ("[stow]\ntls = true", "[listener.tls] has no certificate"),
        ('[[stow.clients]]\nname = "a"\ncertificate = "CN=a"', "[stow] tls is false"),
        ('[[stow.clients]]\nname = "a"\ntoken_file = "t"\nnetworks = ["10.0.0.1/8"]', "has host bits set"),
        ('[[stow.clients]]\nname = "a"\ntoken_file = "t"\n' * 2, "two STOW clients are called 'a'"),
    ],
)
def test_unsafe_stow_settings_are_refused(
    tmp_path: Path, threshold_bundles: Path, stow: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wetread.toml"
    path.write_text(config(threshold_bundles).format(port=0) + stow)
    assert run(["serve", "--config", str(path)]) == 2
    assert sentence in capsys.readouterr().err
