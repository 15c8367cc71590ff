"""TLS for DICOM: files that do not fit are refused in words; we call nobody but whom we expect."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pynetdicom import AE, evt

from certificates import Authority, Identity
from peers import free_port, require
from phantoms import write_series
from waiting import until
from wetread.dimse.scu import Remote, echo, send_files
from wetread.dimse.tls import (
    RemoteTls,
    certificate_of,
    check_pin,
    client_context,
    explained,
    fits,
    read_certificate,
    server_context,
)
from wetread.errors import DestinationUnavailable, Misconfigured

Serve = Callable[..., int]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def echoes() -> list[evt.Event]:
    """What the server was asked."""
    return []


@pytest.fixture
def serve(echoes: list[evt.Event]) -> Iterator[Serve]:
    """Another vendor's server: pynetdicom with a plain context of Python's."""
    running: list[AE] = []

    def answer(event: evt.Event) -> int:
        echoes.append(event)
        return 0

    def start(identity: Identity, *, client_ca: Path | None = None, maximum: ssl.TLSVersion | None = None) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if maximum is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = maximum
        context.load_cert_chain(identity.certificate, identity.key)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        ae = AE(ae_title="PACS")
        ae.add_supported_context("1.2.840.10008.1.1")
        running.append(ae)
        server = ae.start_server(
            ("127.0.0.1", 0), block=False, ssl_context=context, evt_handlers=[(evt.EVT_C_ECHO, answer)]
        )
        return int(server.socket.getsockname()[1])

    yield start
    for ae in running:
        ae.shutdown()


def test_peer_with_a_certificate_of_our_authority_is_called(
    serve: Serve, echoes: list[evt.Event], authority: Authority
) -> None:
    port = serve(authority.issue("pacs"))
    echo(Remote("127.0.0.1", port, "PACS", tls=RemoteTls(ca=str(authority.certificate))))
    assert len(echoes) == 1


def test_our_certificate_is_shown_to_a_peer_that_asks(serve: Serve, authority: Authority) -> None:
    port = serve(authority.issue("pacs"), client_ca=authority.certificate)
    ours = authority.issue("wetread")
    tls = RemoteTls(ca=str(authority.certificate), certificate=str(ours.certificate), key=str(ours.key))
    echo(Remote("127.0.0.1", port, "PACS", tls=tls))
    with pytest.raises(DestinationUnavailable, match=r"cannot be reached with TLS: .*certificate required"):
        echo(Remote("127.0.0.1", port, "PACS", tls=RemoteTls(ca=str(authority.certificate))))


def test_peer_of_a_foreign_authority_is_not_called(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    port = serve(Authority(tmp_path / "other", "Other CA").issue("pacs"))
    with pytest.raises(DestinationUnavailable, match="cannot be reached with TLS: unable to get local issuer"):
        echo(Remote("127.0.0.1", port, "PACS", tls=RemoteTls(ca=str(authority.certificate))))


def test_expired_peer_is_not_called(serve: Serve, authority: Authority) -> None:
    port = serve(authority.issue("pacs", days=-1))
    with pytest.raises(DestinationUnavailable, match="certificate has expired"):
        echo(Remote("127.0.0.1", port, "PACS", tls=RemoteTls(ca=str(authority.certificate))))


def test_certificate_for_another_host_counts_only_when_it_is_pinned(serve: Serve, authority: Authority) -> None:
    elsewhere = authority.issue("pacs", address="10.9.8.7")
    port = serve(elsewhere)
    ca = str(authority.certificate)
    with pytest.raises(DestinationUnavailable, match="IP address mismatch"):
        echo(Remote("127.0.0.1", port, "PACS", tls=RemoteTls(ca=ca)))
    echo(Remote("127.0.0.1", port, "PACS", tls=RemoteTls(ca=ca, pin=elsewhere.fingerprint)))
    echo(Remote("127.0.0.1", port, "PACS", tls=RemoteTls(ca=ca, pin="CN=pacs,O=Hospital")))


def test_other_certificate_than_the_pinned_one_is_not_called(serve: Serve, authority: Authority) -> None:
    port = serve(authority.issue("pacs"))
    other = authority.issue("other")
    for pin in (other.fingerprint, "CN=other,O=Hospital", "CN=pacs"):
        with pytest.raises(DestinationUnavailable, match="CN=pacs,O=Hospital, not the pinned one"):
            echo(Remote("127.0.0.1", port, "PACS", tls=RemoteTls(ca=str(authority.certificate), pin=pin)))


def test_peer_that_offers_nothing_newer_than_tls_1_1_is_not_called(serve: Serve, authority: Authority) -> None:
    port = serve(authority.issue("pacs"), maximum=ssl.TLSVersion.TLSv1_1)
    with pytest.raises(DestinationUnavailable, match=r"cannot be reached with TLS: .*version"):
        echo(Remote("127.0.0.1", port, "PACS", tls=RemoteTls(ca=str(authority.certificate))))


def test_key_that_others_may_read_is_refused(authority: Authority) -> None:
    ours = authority.issue("wetread")
    ours.key.chmod(0o640)
    with pytest.raises(Misconfigured, match=r"others may read .*wetread.key \(mode 0640\); do: chmod 600"):
        server_context(str(ours.certificate), str(ours.key), client_ca="", client_certificate="none")


def test_wrong_and_missing_files_are_named(authority: Authority, tmp_path: Path) -> None:
    ours, other = authority.issue("wetread"), authority.issue("other")
    cert, key = str(ours.certificate), str(ours.key)
    text = tmp_path / "text.pem"
    text.write_text("not a certificate")
    text.chmod(0o600)

    def refused(certificate: str, key: str, ca: str = str(authority.certificate)) -> str:
        with pytest.raises(Misconfigured) as error:
            server_context(certificate, key, client_ca=ca, client_certificate="required")
        return str(error.value)

    assert "other.key does not belong to the certificate" in refused(cert, str(other.key))
    assert "nowhere.pem cannot be read: No such file" in refused(str(tmp_path / "nowhere.pem"), key)
    assert "nowhere.key cannot be read: No such file" in refused(cert, str(tmp_path / "nowhere.key"))
    assert "text.pem is not a certificate" in refused(str(text), key)
    assert "text.pem is no usable PEM key" in refused(cert, str(text))
    assert "text.pem is not a certificate" in refused(cert, key, str(text))
    assert "client_ca names no authority" in refused(cert, key, "")


def test_file_that_vanishes_later_is_a_delivery_to_try_again(tmp_path: Path) -> None:
    with pytest.raises(DestinationUnavailable, match=r"gone.pem cannot be read"):
        echo(Remote("127.0.0.1", 1, "PACS", tls=RemoteTls(ca=str(tmp_path / "gone.pem"))))


def test_pins_are_fingerprints_or_whole_subjects(authority: Authority) -> None:
    identity = authority.issue("ct1")
    certificate = read_certificate(str(identity.certificate))
    digits = identity.fingerprint.removeprefix("sha256:")
    as_openssl = "SHA256:" + ":".join(digits[i : i + 2] for i in range(0, 64, 2)).upper()
    for pin in (identity.fingerprint, as_openssl, "CN=ct1,O=Hospital", certificate.subject):
        check_pin(pin)
        assert fits(certificate, pin)
    assert not fits(certificate, "O=Hospital,CN=ct1")
    for wrong in ("sha256:12", "ct1", ""):
        with pytest.raises(ValueError, match=r"sha256: and 64 hex digits|RFC 4514"):
            check_pin(wrong)
    assert certificate_of(ssl.PEM_cert_to_DER_cert(identity.certificate.read_text())) == certificate


def test_no_weaker_suite_or_version_is_offered(authority: Authority) -> None:
    context = client_context(RemoteTls(ca=str(authority.certificate)))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    names = {c["name"] for c in context.get_ciphers()}
    assert all(n.startswith("TLS_") or (n.startswith("ECDHE-") and "-GCM-" in n) for n in names)


def test_reset_during_a_handshake_is_said_in_words() -> None:
    assert explained(ConnectionResetError(104, "Connection reset by peer")) == "Connection reset by peer"


def test_dcmtk_takes_our_instances_with_tls(authority: Authority, tmp_path: Path) -> None:
    pacs, ours = authority.issue("pacs"), authority.issue("wetread")
    port, arrived = free_port(), tmp_path / "arrived"
    arrived.mkdir()
    files = [str(pacs.key), str(pacs.certificate), "+cf", str(authority.certificate)]
    command = [require("/usr/bin/storescp"), "-od", str(arrived), "+tls", *files, str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ca = str(authority.certificate)
    remote = Remote(
        "127.0.0.1", port, "PACS", tls=RemoteTls(ca, pacs.fingerprint, str(ours.certificate), str(ours.key))
    )

    def answers() -> bool:
        try:
            echo(remote)
        except DestinationUnavailable:
            return False
        return True

    try:
        until(answers, what="storescp answers")
        paths = write_series(tmp_path / "study", shape=(3, 32, 32)).paths
        assert all(report.accepted for report in send_files(remote, paths))
        assert len(list(arrived.iterdir())) == 3
        with pytest.raises(DestinationUnavailable, match="cannot be reached with TLS"):
            echo(Remote("127.0.0.1", port, "PACS", tls=RemoteTls(ca, pacs.fingerprint)))
    finally:
        server.kill()
        server.wait()
