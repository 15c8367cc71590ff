"""Do the parts of a configuration fit together? Each check raises ``Misconfigured`` with a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wetread.api.settings import check_settings as check_api
from wetread.deliver.destination import DestinationSettings
from wetread.dimse.tls import check_pin
from wetread.errors import Misconfigured
from wetread.jobs.new_job import BUTTON
from wetread.receive.listener import ListenerSettings
from wetread.receive.stow_settings import check_settings

if TYPE_CHECKING:
    from wetread.config import Config, PeerSettings


def check_together(config: Config, path: Path) -> None:
    """All of them. Raises: ``Misconfigured``."""
    _unique("peer", [p.name for p in config.peers], path)
    _unique("route", [r.name for r in config.routes], path)
    _unique("destination", [d.name for d in config.destinations], path)
    if not config.listener.called:
        raise Misconfigured(f"{path}: [[listener.called]] names no AE title")
    _unique("called AE title", [c.ae_title for c in config.listener.called], path)
    _check_listener_tls(config.listener, path)
    _unique("STOW client", [c.name for c in config.stow.clients], path)
    check_settings(config.stow, config.listener.tls)
    check_api(config.api, has_certificate=bool(config.listener.tls.certificate))
    _check_peers(config, path)
    _check_same_callers(config, path)
    _check_destinations(config, path)
    if 0 < config.retention.min_free_mb <= config.spool.reserve_mb:
        raise Misconfigured(
            f"{path}: [retention] min_free_mb ({config.retention.min_free_mb}) must be above [spool] reserve_mb"
            f" ({config.spool.reserve_mb}): reception would stop before anything is removed"
        )
    delivery = config.delivery
    if delivery.max_delay_s < delivery.first_delay_s:
        raise Misconfigured(
            f"{path}: [delivery] max_delay_s ({delivery.max_delay_s:g}) must not be below first_delay_s"
            f" ({delivery.first_delay_s:g}): the wait begins with the one and grows to the other"
        )
    try:
        ZoneInfo(config.results.timezone)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise Misconfigured(f"{path}: there is no time zone {config.results.timezone!r}") from exc


def _check_peers(config: Config, path: Path) -> None:
    titles = [("[[listener.called]]", c.ae_title) for c in config.listener.called]
    titles += [(f"peer {p.name!r}", p.ae_title) for p in config.peers]
    for where, title in titles:
        # PS3.5 Table 6.2-1, VR AE
        if not title.strip() or len(title) > 16 or "\\" in title or not title.isprintable() or not title.isascii():
            size = f", got {len(title)}" if len(title) > 16 else ""
            raise Misconfigured(
                f"{path}: {where}: {title!r} is not an AE title (1 to 16 characters{size}, no backslash)"
            )
    for peer in config.peers:
        if peer.tls and peer.calls and not config.listener.tls.certificate:
            raise Misconfigured(f"{path}: peer {peer.name!r} must call with TLS, but [listener.tls] has no certificate")
        if peer.calls and not peer.networks:
            raise Misconfigured(
                f"{path}: peer {peer.name!r} may send or report commitments, but no network is named it would call from"
            )
        _check_certificate(peer, path)
        _check_commitment(config, peer, path)
        for network in peer.networks:
            try:
                ip_network(network)
            except ValueError as exc:
                raise Misconfigured(f"{path}: peer {peer.name!r}: {network!r} is not a network ({exc})") from exc


def _check_commitment(config: Config, peer: PeerSettings, path: Path) -> None:
    if not peer.commitment_through:
        return
    archive = next((p for p in config.peers if p.name == peer.commitment_through), None)
    where = f"{path}: peer {peer.name!r}: commitment_through"
    if archive is None or archive is peer:
        raise Misconfigured(f"{where} names no other peer: {peer.commitment_through!r}")
    if not archive.commitment or not archive.host or not archive.port:
        raise Misconfigured(f"{where} is {archive.name!r}, which needs commitment = true, host and port")
    if not peer.host or not peer.port:
        raise Misconfigured(f"{where} needs host and port of {peer.name!r}: its report is sent there")


def _check_listener_tls(listener: ListenerSettings, path: Path) -> None:
    tls = listener.tls
    if tls.certificate and not tls.key:
        raise Misconfigured(f"{path}: [listener.tls] names a certificate but no key")
    if not tls.certificate and (tls.key or tls.client_ca or not listener.plain):
        why = "plain = false leaves no port to listen on" if not listener.plain else "it has a key or client_ca"
        raise Misconfigured(f"{path}: [listener.tls] names no certificate, but {why}")
    if tls.certificate and not tls.client_ca and tls.client_certificate != "none":
        raise Misconfigured(
            f"{path}: [listener.tls] client_ca must name the authorities of the callers' certificates;"
            ' or set client_certificate = "none"'
        )


def _check_same_callers(config: Config, path: Path) -> None:
    """Two peers with one title must differ in their networks, or nobody could say who calls."""
    seen: dict[tuple[str, str], str] = {}
    for peer in config.peers:
        for network in peer.networks if peer.calls else ():
            other = seen.setdefault((peer.ae_title, str(ip_network(network))), peer.name)
            if other != peer.name:
                raise Misconfigured(
                    f"{path}: peers {other!r} and {peer.name!r} both call as {peer.ae_title} from {network}"
                )


def _check_certificate(peer: PeerSettings, path: Path) -> None:
    if (peer.ca or peer.certificate) and not peer.tls:
        raise Misconfigured(f"{path}: peer {peer.name!r} has a certificate but not tls = true")
    if peer.certificate:
        try:
            check_pin(peer.certificate)
        except ValueError as exc:
            raise Misconfigured(f"{path}: peer {peer.name!r}: certificate {peer.certificate!r}: {exc}") from exc


def _check_destinations(config: Config, path: Path) -> None:
    peers = {p.name: p for p in config.peers}
    for destination in config.destinations:
        _check_verify(config, destination, path)
        if destination.kind == "folder" and not destination.path:
            raise Misconfigured(f"{path}: destination {destination.name!r} of kind 'folder' needs a path")
        if destination.kind != "dicom":
            continue
        peer = peers.get(destination.peer)
        if peer is None:
            raise Misconfigured(f"{path}: destination {destination.name!r} names no known peer: {destination.peer!r}")
        if not peer.host or not peer.port:
            raise Misconfigured(f"{path}: peer {peer.name!r} needs host and port to be a destination")
    _check_sent_to(config, {d.name for d in config.destinations}, path)


def _check_sent_to(config: Config, names: set[str], path: Path) -> None:
    for name in config.api.destinations:
        if name not in names:
            raise Misconfigured(f"{path}: [api] names an unknown destination {name!r}")
    for route in config.routes:
        if route.name == BUTTON:
            raise Misconfigured(f"{path}: no route may be called {BUTTON!r}: that is what a person asked for")
        for name in route.destinations:
            if name not in names:
                raise Misconfigured(f"{path}: route {route.name!r} names an unknown destination {name!r}")
        if route.mode == "live" and not route.destinations:
            raise Misconfigured(f"{path}: route {route.name!r} is live but names no destination")


def _check_verify(config: Config, destination: DestinationSettings, path: Path) -> None:
    where = f"{path}: destination {destination.name!r}"
    able = config.abilities(destination)
    if destination.verify == "commitment" and not able.commitment:
        raise Misconfigured(f"{where}: verify is 'commitment', but its peer has no commitment = true")
    if destination.verify == "query" and not able.query:
        raise Misconfigured(f"{where}: verify is 'query', but it has no query = true")
    if destination.kind == "dicomweb" and not destination.url.startswith(("https://", "http://")):
        raise Misconfigured(f"{where} of kind 'dicomweb' needs a url (https://…)")


def _unique(kind: str, names: Iterable[str], path: Path) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Misconfigured(f"{path}: two {kind}s are called {name!r}")
        seen.add(name)
