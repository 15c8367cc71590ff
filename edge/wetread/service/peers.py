"""The systems we talk DICOM with: what is configured, what was heard of them, and whether their TLS is in order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from wetread.config import Config, PeerSettings
from wetread.dimse.scu import echo
from wetread.dimse.tls import Certificate, client_context, read_certificate, server_context
from wetread.errors import Misconfigured
from wetread.records.numbers import number_of
from wetread.service.overview import Overview

_WARN_DAYS = 30


def peers(config: Config) -> list[dict[str, Any]]:
    """Every configured peer, with the end of its last association that brought instances."""
    heard = Overview(config.data_dir).last_sent() if (config.data_dir / "wetread.db").is_file() else {}
    return [
        {
            "name": peer.name,
            "ae_title": peer.ae_title,
            "address": f"{peer.host}:{peer.port}" if peer.host else "",
            "networks": list(peer.networks),
            "may_send": peer.may_send,
            "tls": peer.tls,
            "last_sent_at": heard.get(peer.name, ""),
        }
        for peer in config.peers
    ]


def echo_peer(config: Config, name: str) -> dict[str, Any]:
    """C-ECHO to a peer.

    Raises: ``Misconfigured`` when there is no such peer, or none we could call; ``DestinationUnavailable``.
    """
    peer = _callable(config, name)
    began = time.monotonic()
    echo(config.remote_of(peer))
    return {"name": name, "address": f"{peer.host}:{peer.port}", "seconds": round(time.monotonic() - began, 3)}


def check_tls(config: Config) -> None:
    """Load every key and certificate of TLS. Raises: ``Misconfigured`` for the first that is not usable."""
    tls = config.listener.tls
    if tls.certificate:
        server_context(tls.certificate, tls.key, client_ca=tls.client_ca, client_certificate=tls.client_certificate)
    for peer in config.peers:
        remote = config.remote_of(peer).tls
        if remote is not None:
            client_context(remote)


def certificates(config: Config) -> Iterator[tuple[str, Certificate]]:
    """Every certificate that is configured, with where."""
    tls = config.listener.tls
    files = [("[listener.tls] certificate", tls.certificate), ("[listener.tls] client_ca", tls.client_ca)]
    files += [(f"ca of peer {p.name}", p.ca) for p in config.peers]
    for where, path in files:
        if path:
            yield where, read_certificate(path)


def expiry_problem(certificate: Certificate) -> str:
    """What is wrong with a certificate's dates; empty when nothing is."""
    if certificate.days_left < 0:
        return f"expired on {certificate.not_after:%Y-%m-%d}"
    if certificate.days_left < _WARN_DAYS:
        return f"expires in {number_of(round(certificate.days_left), 'day')}, on {certificate.not_after:%Y-%m-%d}"
    return "is not valid yet" if certificate.not_yet_valid else ""


def _callable(config: Config, name: str) -> PeerSettings:
    for peer in config.peers:
        if peer.name == name:
            if not peer.host or not peer.port:
                raise Misconfigured(f"peer {name!r} has no host and port to call")
            return peer
    known = ", ".join(p.name for p in config.peers) or "none"
    raise Misconfigured(f"there is no peer {name!r}; known: {known}")
