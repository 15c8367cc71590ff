"""DICOM over TLS: who we are, whom we believe, and nothing weaker (PS3.15 B.12: BCP 195, RFC 8996 and RFC 9325).

TLS 1.2 and 1.3 alone, without falling back; forward secrecy and authenticated encryption in every suite.
"""

from __future__ import annotations

import re
import ssl
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from wetread.errors import Misconfigured

CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""Suites of TLS 1.2 (RFC 9325 4.2); those of TLS 1.3 are all fit and OpenSSL's own."""

ClientCertificate = Literal["required", "optional", "none"]

_FINGERPRINT = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself."""

    name: x509.Name
    fingerprint: str
    """SHA-256 of its DER form, 64 hex digits."""
    not_before: datetime
    not_after: datetime

    @property
    def subject(self) -> str:
        """``CN=...,O=...`` (RFC 4514), as it is written in the configuration."""
        return self.name.rfc4514_string()

    @property
    def days_left(self) -> float:
        """Days until it expires; negative when it has."""
        return (self.not_after - datetime.now(UTC)).total_seconds() / 86400

    @property
    def not_yet_valid(self) -> bool:
        """Whether it was made for a later time; a wrong clock does that too."""
        return datetime.now(UTC) < self.not_before


@dataclass(frozen=True, slots=True)
class RemoteTls:
    """How we call a peer with TLS. Paths are PEM files."""

    ca: str = ""
    """Authorities that may have signed its certificate; empty: those of the system."""
    pin: str = ""
    """What its certificate must be; then its host name need not be in it."""
    certificate: str = ""
    """Ours, when the peer asks for one."""
    key: str = ""


def certificate_of(der: bytes) -> Certificate:
    """Read a certificate in DER form."""
    return _described(x509.load_der_x509_certificate(der))


def read_certificate(path: str) -> Certificate:
    """The first certificate of a PEM file. Raises: ``Misconfigured``."""
    try:
        return _described(x509.load_pem_x509_certificate(Path(path).read_bytes()))
    except OSError as exc:
        raise Misconfigured(f"the certificate {path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise Misconfigured(f"{path} is not a certificate in PEM form") from exc


def server_context(
    certificate: str, key: str, *, client_ca: str, client_certificate: ClientCertificate
) -> ssl.SSLContext:
    """What our TLS port says and asks. Raises: ``Misconfigured`` when a file is missing, wrong or open to others."""
    context = _strict(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    _load_identity(context, certificate, key)
    if client_certificate == "none":
        return context
    if not client_ca:
        raise Misconfigured("client certificates are asked for, but client_ca names no authority to check them by")
    _load_authorities(context, client_ca)
    context.verify_mode = ssl.CERT_REQUIRED if client_certificate == "required" else ssl.CERT_OPTIONAL
    return context


def client_context(tls: RemoteTls) -> ClientContext:
    """How we call one peer. Raises: ``Misconfigured`` when a file is missing, wrong or open to others."""
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    _strict(context)
    context.pin = tls.pin
    context.check_hostname = not tls.pin
    if tls.ca:
        _load_authorities(context, tls.ca)
    else:
        context.load_default_certs()
    if tls.certificate:
        _load_identity(context, tls.certificate, tls.key)
    return context


def check_pin(pin: str) -> None:
    """Raises: ``ValueError`` when it is neither ``sha256:`` and 64 hex digits nor a subject."""
    if pin.lower().startswith("sha256:"):
        if not _FINGERPRINT.fullmatch(_plain(pin)):
            raise ValueError("a fingerprint is sha256: and 64 hex digits")
        return
    try:
        subject = x509.Name.from_rfc4514_string(pin)
    except ValueError as exc:
        raise ValueError("a subject is written like CN=ct1,O=Hospital (RFC 4514)") from exc
    if not subject.rdns:
        raise ValueError("a subject is written like CN=ct1,O=Hospital (RFC 4514), not empty")


def fits(certificate: Certificate, pin: str) -> bool:
    """Whether a certificate is the pinned one: the same fingerprint, or the same whole subject."""
    if match := _FINGERPRINT.fullmatch(_plain(pin)):
        return match[1] == certificate.fingerprint
    return x509.Name.from_rfc4514_string(pin) == certificate.name


class ClientContext(ssl.SSLContext):
    """Remembers why a handshake failed: pynetdicom only says that there is no connection."""

    pin = ""
    problem = ""

    def __init__(self, protocol: int) -> None:
        super().__init__()
        self.sslsocket_class = _ClientSocket


class _ClientSocket(ssl.SSLSocket):
    context: ClientContext

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
            self._check_pin()
        except OSError as exc:
            self.context.problem = explained(exc)
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        # With TLS 1.3 a peer that does not like our certificate says so after the handshake.
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as exc:
            self.context.problem = explained(exc)
            raise

    def _check_pin(self) -> None:
        der = self.getpeercert(binary_form=True)
        if self.context.pin and (der is None or not fits(certificate_of(der), self.context.pin)):
            shown = certificate_of(der).subject if der else "nothing"
            raise ssl.SSLCertVerificationError(f"its certificate is {shown}, not the pinned one")


def explained(error: OSError) -> str:
    """A failed handshake in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return getattr(error, "verify_message", "") or str(error.args[-1])
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return str(error.strerror or error)


def _strict(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def _load_identity(context: ssl.SSLContext, certificate: str, key: str) -> None:
    read_certificate(certificate)
    try:
        mode = stat.S_IMODE(Path(key).stat().st_mode)
        if mode & 0o077:
            raise Misconfigured(f"others may read the private key {key} (mode {mode:04o}); do: chmod 600 {key}")
        # A password nobody is there to type: an encrypted key is refused, never asked for.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as exc:
        why = "does not belong to" if exc.reason == "KEY_VALUES_MISMATCH" else "is no usable PEM key (encrypted?) for"
        raise Misconfigured(f"the private key {key} {why} the certificate {certificate}") from exc
    except OSError as exc:
        raise Misconfigured(f"the private key {key} cannot be read: {exc.strerror}") from exc


def _load_authorities(context: ssl.SSLContext, ca: str) -> None:
    read_certificate(ca)
    context.load_verify_locations(ca)


def _described(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        name=certificate.subject,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _plain(pin: str) -> str:
    """A fingerprint as ``openssl x509 -fingerprint`` prints it has colons and capitals."""
    prefix, _, digits = pin.partition(":")
    return f"{prefix}:{digits.replace(':', '')}".lower()
