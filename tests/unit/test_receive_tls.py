"""The TLS port, called by DCMTK's TLS client and our own."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from certificates import Authority, Identity
from listening import Kept, Listen, listeners
from peers import HOST, echoscu, storescu
from phantoms import write_series
from slow_loris import association_request, connect, ended
from waiting import until
from wetread.dimse.scu import Remote, echo
from wetread.dimse.tls import RemoteTls
from wetread.receive.admission import Sender
from wetread.receive.listener import TlsSettings
from wetread.records.notes import Refusal

CT1 = Sender("ct1", "CT1", ("127.0.0.1/32",), tls=True)


@pytest.fixture
def listen() -> Iterator[Listen]:
    yield from listeners()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def ours(authority: Authority) -> Identity:
    return authority.issue("wetread")


def settings(authority: Authority, ours: Identity, **more: object) -> TlsSettings:
    files = (str(ours.certificate), str(ours.key), str(authority.certificate))
    return TlsSettings(*files, port=0, **more)  # type: ignore[arg-type]


def tls_of(identity: Identity, authority: Authority) -> list[str]:
    """DCMTK's options."""
    return ["+tls", str(identity.key), str(identity.certificate), "+cf", str(authority.certificate)]


def only_refusal(kept: Kept) -> Refusal:
    until(lambda: [n for n in kept.notes if isinstance(n, Refusal)])
    (refusal,) = [n for n in kept.notes if isinstance(n, Refusal)]
    return refusal


def test_dcmtk_with_a_client_certificate_sends(
    listen: Listen, authority: Authority, ours: Identity, tmp_path: Path
) -> None:
    port, kept = listen(senders=(CT1,), tls=settings(authority, ours))
    paths = write_series(tmp_path / "study", shape=(4, 64, 64)).paths
    sent = storescu(port, paths, options=tls_of(authority.issue("ct1"), authority))
    assert sent.returncode == 0, sent.stderr
    assert len(kept.instances) == 4
    until(kept.ends)
    assert kept.ends() == [("released", 4)]


def test_our_own_client_talks_to_our_own_port(listen: Listen, authority: Authority, ours: Identity) -> None:
    port, kept = listen(senders=(CT1,), tls=settings(authority, ours))
    client = authority.issue("ct1")
    tls = RemoteTls(str(authority.certificate), ours.fingerprint, str(client.certificate), str(client.key))
    echo(Remote(HOST, port, "WETREAD", "CT1", tls=tls))
    assert kept.notes == [], "echo() raises unless it was answered, and nobody was refused"


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_named_suites_alone_are_negotiated(listen: Listen, authority: Authority, ours: Identity, version: str) -> None:
    port, _ = listen(senders=(CT1,), tls=settings(authority, ours, client_certificate="none"))
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{HOST}:{port}", version, "-cipher", "ALL:@SECLEVEL=0"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("New, ")]
    suite = line.rpartition(" ")[2]
    assert suite.startswith("ECDHE-ECDSA-AES" if version == "-tls1_2" else "TLS_")


@pytest.mark.parametrize(
    "arguments", [["-tls1_1"], ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:AES128-GCM-SHA256"]]
)
def test_older_versions_and_weaker_suites_are_refused_and_listed(
    listen: Listen, authority: Authority, ours: Identity, arguments: list[str]
) -> None:
    port, kept = listen(senders=(CT1,), tls=settings(authority, ours, client_certificate="none"))
    command = ["openssl", "s_client", "-connect", f"{HOST}:{port}", *arguments]
    if "-cipher" not in arguments:
        command += ["-cipher", "ALL:@SECLEVEL=0"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "TLS handshake failed" in only_refusal(kept).reason
    assert "TLS 1.2 or 1.3" in only_refusal(kept).hint


def test_caller_without_a_certificate_is_turned_away_and_listed(
    listen: Listen, authority: Authority, ours: Identity
) -> None:
    port, kept = listen(senders=(CT1,), tls=settings(authority, ours))
    assert echoscu(port, options=["+tla", "-ic"]).returncode != 0
    refusal = only_refusal(kept)
    assert refusal.reason == "TLS handshake failed: peer did not return a certificate"
    assert "give the sender a certificate" in refusal.hint


def test_certificate_is_only_asked_for_where_the_site_says_so(
    listen: Listen, authority: Authority, ours: Identity
) -> None:
    for wanted in ("optional", "none"):
        port, _ = listen(senders=(CT1,), tls=settings(authority, ours, client_certificate=wanted))
        assert echoscu(port, options=["+tla", "-ic"]).returncode == 0


@pytest.mark.parametrize(("days", "reason"), [(-1, "certificate has expired"), (30, "unable to get local issuer")])
def test_caller_of_a_foreign_authority_or_expired_is_turned_away(
    listen: Listen, authority: Authority, ours: Identity, tmp_path: Path, days: int, reason: str
) -> None:
    port, kept = listen(senders=(CT1,), tls=settings(authority, ours))
    issuer = authority if days < 0 else Authority(tmp_path / "other", "Other CA")
    caller = issuer.issue("ct1", days=days)
    with connect(port) as raw:
        context = ssl.create_default_context(cafile=authority.certificate)
        context.load_cert_chain(caller.certificate, caller.key)
        with context.wrap_socket(raw, server_hostname=HOST) as encrypted:
            assert ended(encrypted)
    refusal = only_refusal(kept)
    assert reason in refusal.reason
    assert "client_ca" in refusal.hint


def test_pinned_caller_must_show_its_own_certificate(listen: Listen, authority: Authority, ours: Identity) -> None:
    ct1, other = authority.issue("ct1"), authority.issue("other")
    for pin in (ct1.fingerprint, "CN=ct1,O=Hospital"):
        pinned = Sender("ct1", "CT1", ("127.0.0.1/32",), tls=True, certificate=pin)
        port, kept = listen(senders=(pinned,), tls=settings(authority, ours))
        assert echoscu(port, options=tls_of(ct1, authority)).returncode == 0
        assert "Calling AE Title Not Recognized" in echoscu(port, options=tls_of(other, authority)).stderr
        refusal = only_refusal(kept)
        assert refusal.reason == "ct1 showed CN=other,O=Hospital, not the certificate of its [[peers]] entry"
        assert other.fingerprint in refusal.hint


def test_peer_with_tls_is_refused_on_the_plain_port(listen: Listen) -> None:
    port, kept = listen(senders=(CT1,))
    assert "Calling AE Title Not Recognized" in echoscu(port).stderr
    assert only_refusal(kept).reason == "ct1 must call with TLS"


def test_plain_caller_on_the_tls_port_is_named(listen: Listen, authority: Authority, ours: Identity) -> None:
    port, kept = listen(senders=(CT1,), tls=settings(authority, ours))
    assert echoscu(port).returncode != 0
    assert only_refusal(kept).reason == "called the TLS port without TLS"


def test_tls_client_on_the_plain_port_is_named(listen: Listen, authority: Authority) -> None:
    port, kept = listen(senders=(CT1,))
    assert echoscu(port, options=tls_of(authority.issue("ct1"), authority)).returncode != 0
    assert only_refusal(kept).reason == "called the port without TLS with TLS"


def test_half_a_handshake_keeps_nobody_out(listen: Listen, authority: Authority, ours: Identity) -> None:
    """pynetdicom shakes hands in the thread that accepts: there, one silent caller would stop the port."""
    port, _ = listen(senders=(CT1,), tls=settings(authority, ours), request_timeout_s=1.0)
    with connect(port) as silent, connect(port) as half:
        half.sendall(b"\x16\x03\x01\x02\x00")
        assert echoscu(port, options=tls_of(authority.issue("ct1"), authority)).returncode == 0
        assert ended(silent)
        assert ended(half)


def test_request_at_one_byte_a_time_within_tls_is_cut_off(listen: Listen, authority: Authority, ours: Identity) -> None:
    port, kept = listen(senders=(CT1,), tls=settings(authority, ours, client_certificate="none"), request_timeout_s=0.5)
    context = ssl.create_default_context(cafile=authority.certificate)
    with context.wrap_socket(connect(port), server_hostname=HOST) as slow:
        slow.sendall(association_request()[:20])
        assert ended(slow)
    assert only_refusal(kept).reason == "no association request within 0.5 s"
