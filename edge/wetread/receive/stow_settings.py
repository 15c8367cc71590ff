"""``[stow]``: who may send by STOW-RS, and how much; tokens lie in files of their own."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from wetread.dimse.tls import check_pin
from wetread.errors import Misconfigured
from wetread.receive.listener import Priority, TlsSettings

_LEAST_TOKEN = 16  # characters; shorter ones are guessed


@dataclass(frozen=True, slots=True)
class StowClient:
    """``[[stow.clients]]``: somebody who may send by STOW-RS. Token or certificate or both are needed."""

    name: str
    """What the timeline calls it."""
    token_file: str = ""
    """File with its bearer token, readable by the service alone (mode 0600)."""
    certificate: str = ""
    """What its certificate must be, ``sha256:...`` or its whole subject; needs TLS."""
    networks: tuple[str, ...] = ()
    """CIDR networks it calls from; empty: any."""
    priority: Priority = "normal"
    """Of the studies it sends."""


@dataclass(frozen=True, slots=True)
class StowSettings:
    """``[stow]``: the DICOMweb entrance. Off until it has a client."""

    host: str = "127.0.0.1"
    """Address to listen on; other than loopback only with TLS."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 8643
    """TCP port. 0 takes a free one."""
    tls: bool = False
    """HTTPS, with certificate and rules of ``[listener.tls]``."""
    clients: tuple[StowClient, ...] = ()
    """Who may send."""
    max_requests: Annotated[int, Ge(1)] = 8
    """Requests at one time; one more is answered 503 and tries again."""
    max_request_mb: Annotated[int, Ge(1)] = 8192
    """Largest request (MiB)."""
    max_instance_mb: Annotated[int, Ge(1)] = 2048
    """Largest instance (MiB); it is held in memory while it comes."""
    timeout_s: Annotated[float, Gt(0)] = 60.0
    """A request that brings nothing for this long is ended."""


@dataclass(frozen=True, slots=True)
class Token:
    """A client's bearer token, of which only the digest is kept."""

    client: str
    sha256: bytes


def check_settings(stow: StowSettings, tls: TlsSettings) -> None:
    """Whether the parts fit together. Raises: ``Misconfigured``."""
    if stow.tls and not tls.certificate:
        raise Misconfigured("[stow] tls = true, but [listener.tls] has no certificate")
    if stow.clients and not stow.tls and not _is_loopback(stow.host):
        raise Misconfigured(f"[stow] host is {stow.host}: without TLS, tokens and images go over loopback only")
    for client in stow.clients:
        where = f"[[stow.clients]] {client.name!r}"
        if not client.token_file and not client.certificate:
            raise Misconfigured(f"{where} has neither token_file nor certificate: anybody could be it")
        if client.certificate and not stow.tls:
            raise Misconfigured(f"{where} has a certificate, but [stow] tls is false")
        try:
            if client.certificate:
                check_pin(client.certificate)
            for network in client.networks:
                ip_network(network)
        except ValueError as exc:
            raise Misconfigured(f"{where}: {exc}") from exc


def read_tokens(clients: tuple[StowClient, ...]) -> list[Token]:
    """The token of every client that has one. Raises: ``Misconfigured`` when a file is missing, short or open."""
    return [Token(c.name, _digest(Path(c.token_file))) for c in clients if c.token_file]


def _digest(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise Misconfigured(f"the token file {path} cannot be read: {getattr(exc, 'strerror', 'not text')}") from exc
    if mode & 0o077:
        raise Misconfigured(f"others may read the token file {path} (mode {mode:04o}); do: chmod 600 {path}")
    if len(text) < _LEAST_TOKEN:
        raise Misconfigured(f"the token in {path} has fewer than {_LEAST_TOKEN} characters; do: openssl rand -hex 32")
    return hashlib.sha256(text.encode()).digest()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
