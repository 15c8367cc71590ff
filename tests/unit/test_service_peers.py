"""Peers as the administrator sees them: certificates that end, callers that were refused."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certificates import Authority
from peers import config as config_text
from wetread.cli.main import run
from wetread.config import Config, load_config
from wetread.db import Database
from wetread.errors import Misconfigured
from wetread.records.notes import AssociationEnd, Refusal
from wetread.service.doctor import examine
from wetread.service.peers import check_tls
from wetread.store.index import Index
from wetread.store.spool import Spool


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def write_config(folder: Path, bundles: Path, authority: Authority, *, days: int = 300) -> Path:
    """A configuration with a TLS port, whose certificate lasts so long."""
    ours = authority.issue("wetread", days=days)
    files = [f'{n} = "{p}"' for n, p in zip(("certificate", "key", "client_ca"), _files(ours, authority), strict=True)]
    tls = "\n".join(["[listener.tls]", *files, "port = 0"])
    path = folder / "wetread.toml"
    path.write_text(config_text(bundles).format(port=0).replace("[[listener.called]]", f"{tls}\n[[listener.called]]"))
    return path


def _files(ours: object, authority: Authority) -> tuple[Path, Path, Path]:
    return ours.certificate, ours.key, authority.certificate  # type: ignore[attr-defined]


def note(config: Config, *notes: Refusal | AssociationEnd) -> None:
    """As a listener does, taken in as the coordinator does."""
    spool = Spool(config.data_dir / "spool")
    for one in notes:
        spool.note(one)
    index = Index(Database(config.data_dir / "wetread.db"), spool)
    while not index.is_empty():
        index.take_in()


AT = "2026-03-14T15:09:26.000+00:00"
REFUSAL = Refusal("ct1", "WETREAD", "10.0.0.5", "calling AE title 'ct1' is unknown", "differs from 'CT1'", 3, AT, AT)


def test_refused_callers_are_listed_for_people_and_programs(
    tmp_path: Path, threshold_bundles: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, threshold_bundles, authority)
    note(load_config(path), REFUSAL, Refusal("", "", "192.0.2.1", "spoke HTTP to the DICOM port", "", 1, AT, AT))
    assert run(["peers", "refused", "--config", str(path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "ct1 at 10.0.0.5 called WETREAD 3 times since 2026-03-14" in shown
    assert "calling AE title 'ct1' is unknown" in shown
    assert "differs from 'CT1'" in shown
    assert "? at 192.0.2.1 once" in shown
    assert run(["peers", "refused", "--config", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["refused"]
    assert {(r["calling"], r["count"]) for r in rows} == {("ct1", 3), ("", 1)}


def test_peers_are_listed_with_their_last_sending(
    tmp_path: Path, threshold_bundles: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, threshold_bundles, authority)
    note(load_config(path), AssociationEnd("a1", "ct1", "released", 3, AT))
    assert run(["peers", "list", "--config", str(path), "--json"]) == 0
    rows = {r["name"]: r for r in json.loads(capsys.readouterr().out)["peers"]}
    assert (rows["ct1"]["last_sent_at"], rows["pacs"]["last_sent_at"]) == (AT, "")
    assert run(["peers", "list", "--config", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "last sent 2026-03-14 15:09:26" in shown
    assert "may send, never did" in shown


@pytest.mark.parametrize(
    ("name", "code", "sentence"),
    [
        ("nobody", 2, "there is no peer 'nobody'; known: ct1, pacs"),
        ("ct1", 2, "peer 'ct1' has no host and port to call"),
        ("pacs", 1, "ORTHANC at 127.0.0.1:1 cannot be reached"),
    ],
)
def test_echo_that_cannot_be_says_why(
    tmp_path: Path,
    threshold_bundles: Path,
    authority: Authority,
    capsys: pytest.CaptureFixture[str],
    name: str,
    code: int,
    sentence: str,
) -> None:
    path = write_config(tmp_path, threshold_bundles, authority)
    assert run(["peers", "echo", name, "--config", str(path)]) == code
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("days", "ok", "found"), [(300, True, "is valid until"), (10, False, "expires in"), (-2, False, "expired on")]
)
def test_doctor_says_when_a_certificate_ends(
    tmp_path: Path, threshold_bundles: Path, authority: Authority, days: int, ok: bool, found: str
) -> None:
    checks = examine(load_config(write_config(tmp_path, threshold_bundles, authority, days=days)))
    (check,) = [c for c in checks if c.name == "[listener.tls] certificate"]
    assert check.ok is ok
    assert f"CN=wetread,O=Hospital {found}" in check.found


def test_doctor_names_a_key_that_others_may_read_and_the_service_does_not_start(
    tmp_path: Path, threshold_bundles: Path, authority: Authority
) -> None:
    path = write_config(tmp_path, threshold_bundles, authority)
    (tmp_path / "ca" / "wetread.key").chmod(0o644)
    (check,) = [c for c in examine(load_config(path)) if c.name == "tls"]
    assert not check.ok
    assert "chmod 600" in check.found
    with pytest.raises(Misconfigured, match="chmod 600"):
        check_tls(load_config(path))


def test_doctor_shows_refused_callers_with_what_to_do(
    tmp_path: Path, threshold_bundles: Path, authority: Authority
) -> None:
    config = load_config(write_config(tmp_path, threshold_bundles, authority))
    note(config, REFUSAL)
    (check,) = [c for c in examine(config) if c.name == "refused caller"]
    assert "ct1 at 10.0.0.5, 3 times: calling AE title 'ct1' is unknown" in check.found
    assert check.advice == "differs from 'CT1'; see: wetread peers refused"
    assert check.ok, "months ago"
    today = datetime.now(UTC).isoformat(timespec="milliseconds")
    note(config, dataclasses.replace(REFUSAL, address="10.0.0.6", last_at=today, count=1))
    latest, earlier = [c for c in examine(config) if c.name == "refused caller"]
    assert (latest.ok, earlier.ok) == (False, True)
    assert "ct1 at 10.0.0.6, once: calling" in latest.found


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("client_ca = ", "# ", "client_ca must name the authorities"),
        ("certificate = ", "# ", "names no certificate, but it has a key"),
        ("key = ", "# ", "names a certificate but no key"),
        ('ae_title = "CT1"', 'ae_title = "CT1"\nca = "x.pem"', "has a certificate but not tls = true"),
        ('ae_title = "CT1"', 'ae_title = "CT1"\ntls = true\ncertificate = "ct1"', "RFC 4514"),
        (
            'ae_title = "WETREAD"',
            'ae_title = "WETREAD"\npriority = "urgent"',
            "'background', 'normal' or 'interactive'",
        ),
        (
            'name = "pacs"\nae_title = "ORTHANC"',
            'name = "pacs"\nae_title = "CT1"',
            "both call as CT1 from 127.0.0.1/32",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    tmp_path: Path, threshold_bundles: Path, authority: Authority, old: str, new: str, sentence: str
) -> None:
    path = write_config(tmp_path, threshold_bundles, authority)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(Misconfigured) as error:
        load_config(path)
    assert sentence in str(error.value)


def test_tls_peer_needs_a_tls_port(tmp_path: Path, threshold_bundles: Path) -> None:
    path = tmp_path / "wetread.toml"
    text = config_text(threshold_bundles).format(port=0)
    path.write_text(text.replace('ae_title = "CT1"', 'ae_title = "CT1"\ntls = true'))
    with pytest.raises(Misconfigured, match="must call with TLS, but"):
        load_config(path)
    path.write_text(text.replace("port = 0", "port = 0\nplain = false", 1))
    with pytest.raises(Misconfigured, match="leaves no port to listen on"):
        load_config(path)
