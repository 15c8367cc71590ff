"""Who may send: called title, calling title, address and certificate must all be known, or the caller hears no.

A refusal says what would have to be different, and what was probably meant: that nothing arrives is the commonest
trouble of an installation, and the commonest reasons are a letter's case, a blank and another network card.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from wetread.dimse.scp import CalledRefused, Caller, CallingRefused
from wetread.dimse.tls import fits

_Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Sender:
    """One peer that may call us, as the configuration names it."""

    name: str
    ae_title: str
    networks: tuple[str, ...]
    """CIDR networks the peer calls from."""
    tls: bool = False
    """Whether it must call with TLS."""
    certificate: str = ""
    """What its certificate must be (``dimse.tls.fits``); empty: any valid one."""
    may_send: bool = True
    """Whether instances are taken from it; else it may only report storage commitments, or ask for them."""
    may_ask_commitment: bool = False
    """Whether it may ask us for storage commitment."""


class Admission:
    """Decides about each association. Several peers may share a title: the narrowest network that fits decides."""

    def __init__(self, called: Iterable[str], senders: Sequence[Sender]) -> None:
        self._called = sorted(called)
        self._senders = tuple((s, tuple(ip_network(n) for n in s.networks)) for s in senders)

    def __call__(self, caller: Caller) -> str:
        """The name of the caller's peer.

        Raises: ``CalledRefused``, ``CallingRefused`` with what would have to be configured.
        """
        if caller.called_ae_title not in self._called:
            known = ", ".join(self._called)
            hint = _near(caller.called_ae_title, self._called)
            raise CalledRefused(
                f"called AE title {caller.called_ae_title!r} is not ours ({known})",
                f"{hint}: correct it at the sender" if hint else "",
            )
        same_title = [(s, nets) for s, nets in self._senders if s.ae_title == caller.calling_ae_title]
        if not same_title:
            raise CallingRefused(
                f"calling AE title {caller.calling_ae_title!r} belongs to no peer with may_send or commitment",
                self._hint(caller),
            )
        sender = _narrowest(same_title, caller.address)
        if sender is None:
            names = ", ".join(s.name for s, _ in same_title)
            allowed = ", ".join(str(n) for _, networks in same_title for n in networks)
            raise CallingRefused(
                f"{caller.calling_ae_title} called from {caller.address}, which is not in {allowed}",
                f"if this is {names}: add {caller.address}/{ip_address(caller.address).max_prefixlen} to its networks",
            )
        _check_encryption(sender, caller)
        return sender.name

    def _hint(self, caller: Caller) -> str:
        by_title = {s.ae_title: s.name for s, _ in self._senders}
        near = _near(caller.calling_ae_title, by_title)
        if near:
            return f"{near}: correct it at the sender, or ae_title of a peer"
        same_address = [s for s, networks in self._senders if _narrowest([(s, networks)], caller.address)]
        if same_address:
            names = ", ".join(f"{s.name} ({s.ae_title})" for s in same_address[:3])
            return f"from the address of {names}"
        return ""


def _check_encryption(sender: Sender, caller: Caller) -> None:
    if sender.tls and not caller.encrypted:
        raise CallingRefused(
            f"{sender.name} must call with TLS", "let it call the port of [listener.tls], or set tls = false for it"
        )
    if sender.certificate and (caller.certificate is None or not fits(caller.certificate, sender.certificate)):
        shown = caller.certificate.subject if caller.certificate else "no certificate"
        pin = f"sha256:{caller.certificate.fingerprint}" if caller.certificate else ""
        raise CallingRefused(
            f"{sender.name} showed {shown}, not the certificate of its [[peers]] entry",
            f"if it was renewed: certificate = {pin!r}" if pin else "set client_certificate in [listener.tls]",
        )


def _narrowest(candidates: Sequence[tuple[Sender, tuple[_Network, ...]]], address: str) -> Sender | None:
    fitting = [
        (network.prefixlen, sender)
        for sender, networks in candidates
        for network in networks
        if ip_address(address) in network
    ]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _near(title: str, known: Iterable[str]) -> str:
    """``differs from CT1 in upper and lower case``, if there is such a title; else empty."""
    known = list(known)
    for candidate in known:
        if candidate.casefold() == title.casefold():
            return f"differs from {candidate!r} only in upper and lower case"
    for candidate in known:
        if _bare(candidate) == _bare(title):
            return f"differs from {candidate!r} only in blanks and signs"
    close = difflib.get_close_matches(title.casefold(), [k.casefold() for k in known], n=1, cutoff=0.75)
    if close:
        candidate = next(k for k in known if k.casefold() == close[0])
        return f"nearly {candidate!r}"
    return ""


def _bare(title: str) -> str:
    return "".join(c for c in title.casefold() if c.isalnum())
