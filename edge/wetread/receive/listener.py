"""The DIMSE entrance: who may send, and the C-STORE / C-ECHO listener that hands instances to ``keep``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from wetread.dimse.scp import Callbacks as ScpCallbacks
from wetread.dimse.scp import CalledRefused, Caller, CallingRefused, Limits, StorageScp
from wetread.records.notes import AssociationEnd, Note, Refusal
from wetread.records.received import ReceivedInstance


@dataclass(frozen=True, slots=True)
class CalledAe:
    """``[[listener.called]]``: a title we answer to."""

    ae_title: str


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """``[listener]``: where we listen and how much one listener takes on."""

    host: str = "127.0.0.1"
    """Address to listen on. Loopback unless the site opens it: a fresh installation is reachable by nobody."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 11112
    """TCP port; 11112 is the registered DICOM port that needs no root. 0 takes a free one."""
    called: tuple[CalledAe, ...] = (CalledAe("WETREAD"),)
    """AE titles we answer to; a call to any other is rejected."""
    max_associations: Annotated[int, Ge(1)] = 20
    """Associations at one time; one more is rejected as transient and the sender tries again."""
    network_timeout_s: Annotated[float, Gt(0)] = 60.0
    """An association without a message for this long is aborted: a sender that hangs must not hold a place."""
    max_pdu_bytes: Annotated[int, Ge(4096)] = 131072
    """Largest PDU we accept, in bytes; larger ones mean fewer system calls for each image."""


@dataclass(frozen=True, slots=True)
class Sender:
    """One peer that may send, as the configuration names it."""

    name: str
    ae_title: str
    networks: tuple[str, ...]
    """CIDR networks the peer calls from."""


class Admission:
    """Decides about each association: called title, calling title and address must all be known."""

    def __init__(self, called: Sequence[CalledAe], senders: Sequence[Sender]) -> None:
        self._called = {c.ae_title for c in called}
        self._senders = tuple((s, tuple(ip_network(n) for n in s.networks)) for s in senders)

    def __call__(self, caller: Caller) -> str:
        """The name of the caller's peer.

        Raises: ``CalledRefused``, ``CallingRefused`` with what would have to be configured.
        """
        if caller.called_ae_title not in self._called:
            known = ", ".join(sorted(self._called))
            raise CalledRefused(f"called AE title {caller.called_ae_title!r} is not ours ({known})")
        same_title = [(s, nets) for s, nets in self._senders if s.ae_title == caller.calling_ae_title]
        if not same_title:
            raise CallingRefused(f"calling AE title {caller.calling_ae_title!r} belongs to no peer with may_send")
        for sender, networks in same_title:
            if any(ip_address(caller.address) in network for network in networks):
                return sender.name
        allowed = ", ".join(str(n) for _, networks in same_title for n in networks)
        raise CallingRefused(f"{caller.calling_ae_title} called from {caller.address}, which is not in {allowed}")


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the listener does with what it gets; handed in, so that it knows neither spool nor database."""

    keep: Callable[[ReceivedInstance], object]
    """Make the instance durable, then return."""
    note: Callable[[Note], object]
    """Tell the coordinator, durably: ends of associations, refused callers."""


class Listener:
    """C-STORE and C-ECHO for the configured peers."""

    def __init__(self, settings: ListenerSettings, senders: Sequence[Sender], callbacks: Callbacks) -> None:
        self._settings = settings
        self._note = callbacks.note
        limits = Limits(settings.max_associations, settings.network_timeout_s, settings.max_pdu_bytes)
        admit = Admission(settings.called, senders)
        self._scp = StorageScp(ScpCallbacks(admit, callbacks.keep, self._refused, self._ended), limits)

    def start(self, port: int | None = None) -> int:
        """Listen on ``port``, else on the configured one; returns it. Raises: ``Misconfigured`` if it is taken."""
        return self._scp.start(self._settings.host, self._settings.port if port is None else port)

    def stop(self) -> None:
        """Stop listening."""
        self._scp.stop()

    def _refused(self, caller: Caller, why: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._note(Refusal(caller.calling_ae_title, caller.called_ae_title, caller.address, why, "", 1, at, at))

    def _ended(self, end: AssociationEnd) -> None:
        if end.instances:
            self._note(end)
