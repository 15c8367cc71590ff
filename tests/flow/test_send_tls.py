"""``wetread send --tls`` to DCMTK's receiver, which asks for a certificate, and to peers it must not believe."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from certificates import Authority, Identity
from peers import HOST, free_port, require
from phantoms import write_series
from waiting import until
from wetread.cli.main import run

pytestmark = pytest.mark.peer


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def archive(authority: Authority, tmp_path: Path) -> Iterator[tuple[int, Path, Identity]]:
    """DCMTK's ``storescp`` with TLS: its port, where it stores, its identity."""
    identity, folder, port = authority.issue("archive"), tmp_path / "stored", free_port()
    folder.mkdir()
    tls = ["+tls", str(identity.key), str(identity.certificate), "+cf", str(authority.certificate), "-rc"]
    command = [require("/usr/bin/storescp"), *tls, "-od", str(folder), str(port)]
    with (tmp_path / "storescp.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    until(lambda: _listens(port), what="storescp listens")
    yield port, folder, identity
    process.terminate()
    process.wait(timeout=30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def send(study: Path, port: int, *options: str) -> int:
    return run(["send", str(study), "--to", f"{HOST}:{port}", "--called", "ARCHIVE", "--json", *options])


def test_study_is_sent_with_tls_and_our_certificate(
    archive: tuple[int, Path, Identity], authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port, stored, theirs = archive
    write_series(tmp_path / "study", shape=(3, 16, 16))
    ours = authority.issue("sender")
    identity = ["--cert", str(ours.certificate), "--key", str(ours.key)]
    believed = (["--ca", str(authority.certificate)], ["--ca", str(authority.certificate), "--pin", theirs.fingerprint])
    for trust in believed:
        assert send(tmp_path / "study", port, "--tls", *trust, *identity) == 0
        assert json.loads(capsys.readouterr().out) == {"sent": 3, "failed": [], "not_sent": [], "skipped": []}
    assert len(list(stored.iterdir())) == 3


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ([], 1, "cannot be reached"),
        (["--tls"], 1, "self-signed certificate in certificate chain"),
        (["--tls", "--ca", "{ca}", "--pin", "CN=somebody"], 1, "not the pinned one"),
        (["--tls", "--ca", "{ca}", "--pin", "sha256:12"], 2, "64 hex digits"),
        (["--tls", "--ca", "{ca}", "--cert", "{cert}"], 2, "--cert and --key go together"),
        (["--tls", "--ca", "/nowhere.pem"], 2, "/nowhere.pem cannot be read"),
        (["--ca", "{ca}"], 2, "say --tls too"),
    ],
)
def test_what_cannot_be_sent_with_tls_says_why(
    archive: tuple[int, Path, Identity],
    authority: Authority,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    sentence: str,
) -> None:
    port, stored, _ = archive
    write_series(tmp_path / "study", shape=(1, 16, 16))
    files = {"ca": str(authority.certificate), "cert": str(authority.issue("sender").certificate)}
    assert send(tmp_path / "study", port, *(o.format(**files) for o in options)) == code
    assert sentence in capsys.readouterr().err
    assert not list(stored.iterdir())
