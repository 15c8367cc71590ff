"""The DIMSE entrance: the C-STORE / C-ECHO listener that hands instances of known peers to ``keep``."""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from wetread.dimse.commitment import CommitmentReport, CommitmentRequest
from wetread.dimse.places import Places
from wetread.dimse.scp import Callbacks as ScpCallbacks
from wetread.dimse.scp import Caller, Limits, Refused, StorageScp, nobody_may_ask
from wetread.dimse.scratch import Scratch
from wetread.dimse.tls import ClientCertificate, server_context
from wetread.errors import InstanceRefused
from wetread.receive.admission import Admission, Sender
from wetread.receive.refusals import Refusals
from wetread.records.notes import AssociationEnd, Note
from wetread.records.received import ReceivedInstance

Priority = Literal["background", "normal", "interactive"]

PRIORITIES: dict[Priority, int] = {"background": -10, "normal": 0, "interactive": 10}
"""As ``studies.priority`` holds them: larger is sooner."""


@dataclass(frozen=True, slots=True)
class CalledAe:
    """``[[listener.called]]``: a title we answer to."""

    ae_title: str
    priority: Priority = "normal"
    """Of the studies that come to this title; a study that comes to several has the highest of theirs."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """``[listener.tls]``: a second port, with TLS 1.2 or 1.3 (BCP 195). Paths are PEM files."""

    certificate: str = ""
    """Ours, with the chain up to its authority. Empty: no TLS port. Also shown to peers we call that ask for one."""
    key: str = ""
    """Its private key without password, readable by the service alone (mode 0600)."""
    client_ca: str = ""
    """Authorities that may have signed the callers' certificates."""
    client_certificate: ClientCertificate = "required"
    """``required``: who shows none is turned away; ``optional``: checked if shown; ``none``: not asked for."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 2762
    """TCP port; 2762 is registered for DICOM with TLS. 0 takes a free one."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """``[listener]``: where we listen and how much one listener takes on."""

    enabled: bool = True
    """Whether DICOM is received over the network; false where studies come by upload alone."""
    host: str = "127.0.0.1"
    """Address to listen on. Loopback unless the site opens it: a fresh installation is reachable by nobody."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 11112
    """TCP port; 11112 is the registered DICOM port that needs no root. 0 takes a free one."""
    plain: bool = True
    """Whether ``port`` listens; false where everybody speaks TLS."""
    called: tuple[CalledAe, ...] = (CalledAe("WETREAD"),)
    """AE titles we answer to; a call to any other is rejected."""
    tls: TlsSettings = TlsSettings()
    max_associations: Annotated[int, Ge(1)] = 20
    """Associations at one time, in all processes together; one more is rejected, and the sender tries again."""
    request_timeout_s: Annotated[float, Gt(0)] = 10.0
    """A connection that has not asked for an association after this long is closed."""
    network_timeout_s: Annotated[float, Gt(0)] = 60.0
    """An association without a message for this long is aborted: a sender that hangs must not hold a place."""
    max_pdu_bytes: Annotated[int, Ge(4096)] = 131072
    """Largest PDU we accept, in bytes; larger ones mean fewer system calls for each image."""
    max_instance_mb: Annotated[int, Ge(1)] = 2048
    """Largest instance (MiB). The association that brings a larger one is ended."""
    processes: Annotated[int, Interval(ge=0, le=64)] = 0
    """Processes that listen on the port; 0: one for each core, at most 4."""
    reader: Literal["blocking", "pynetdicom"] = "blocking"
    """What reads C-STORE from established associations: our own reader (fast), or pynetdicom throughout."""


def _nobody_asked(_peer: str, _report: CommitmentReport) -> object:
    raise InstanceRefused("no storage commitment was asked for here")


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the listener does with what it gets; handed in, so that it knows neither spool nor database."""

    keep: Callable[[ReceivedInstance], object]
    """Make the instance durable, then return."""
    note: Callable[[Note], object]
    """Tell the coordinator, durably: ends of associations, refused callers."""
    reported: Callable[[str, CommitmentReport], object] = _nobody_asked
    """Make a peer's storage commitment report durable, then return."""
    asked: Callable[[str, CommitmentRequest], object] = nobody_may_ask
    """Make a peer's request for storage commitment durable, then return."""
    scratch: Callable[[], Scratch] = Scratch
    """Room on the disk for a data set that is too large for memory."""


class Listener:
    """C-STORE and C-ECHO for the configured peers."""

    def __init__(
        self,
        settings: ListenerSettings,
        senders: Sequence[Sender],
        callbacks: Callbacks,
        places: Places | None = None,
    ) -> None:
        """``places``: for associations, shared with the other processes that listen."""
        self._settings = settings
        self._keep = callbacks.keep
        self._note = callbacks.note
        self._refusals = Refusals(callbacks.note)
        self._priorities = {c.ae_title: PRIORITIES[c.priority] for c in settings.called}
        self._ask = callbacks.asked
        self._may_ask = {s.name for s in senders if s.may_ask_commitment}
        self._may_not_send = {s.name for s in senders if not s.may_send}
        limits = Limits(
            max_associations=settings.max_associations,
            network_timeout_s=settings.network_timeout_s,
            max_pdu_bytes=settings.max_pdu_bytes,
            request_timeout_s=settings.request_timeout_s,
            max_instance_bytes=settings.max_instance_mb * 2**20,
            reader=settings.reader,
        )
        scp_callbacks = ScpCallbacks(
            admit=Admission(self._priorities, senders),
            keep=self._keep_with_priority,
            refused=self._refused,
            ended=self._ended,
            reported=callbacks.reported,
            asked=self._asked,
            scratch=callbacks.scratch,
        )
        self._scp = StorageScp(scp_callbacks, limits, places)

    def start(self, port: int | None = None) -> int:
        """Listen on ``port``, else on the configured one; returns it. Raises: ``Misconfigured`` if it is taken."""
        return self._scp.start(self._settings.host, self._settings.port if port is None else port)

    def start_tls(self, port: int | None = None) -> int:
        """Listen with TLS, as ``[listener.tls]`` says; returns the port.

        Raises: ``Misconfigured`` if the port is taken or a file of keys and certificates is not usable.
        """
        tls = self._settings.tls
        return self._scp.start(self._settings.host, tls.port if port is None else port, self._tls_context())

    def accept(self, plain: socket.socket | None, tls: socket.socket | None) -> None:
        """Accept from sockets that listen already, without and with TLS. Raises: ``Misconfigured`` as ``start_tls``."""
        if tls is not None:
            self._scp.accept(tls, self._tls_context())
        if plain is not None:
            self._scp.accept(plain)

    def _tls_context(self) -> ssl.SSLContext:
        tls = self._settings.tls
        return server_context(
            tls.certificate, tls.key, client_ca=tls.client_ca, client_certificate=tls.client_certificate
        )

    def stop(self) -> None:
        """Stop listening."""
        self._scp.stop()
        self._refusals.flush()

    def _keep_with_priority(self, received: ReceivedInstance) -> None:
        if received.provenance.peer in self._may_not_send:
            raise InstanceRefused(f"peer {received.provenance.peer} may not send, only report (may_send)")
        priority = self._priorities[received.provenance.called_ae_title]
        provenance = dataclasses.replace(received.provenance, priority=priority)
        self._keep(dataclasses.replace(received, provenance=provenance))

    def _asked(self, peer: str, request: CommitmentRequest) -> None:
        if peer not in self._may_ask:
            raise Refused(f"peer {peer} has no commitment_through")
        self._ask(peer, request)

    def _refused(self, caller: Caller, reason: str, hint: str) -> None:
        self._refusals.add(caller.calling_ae_title, caller.called_ae_title, caller.address, reason=reason, hint=hint)

    def _ended(self, end: AssociationEnd) -> None:
        if end.instances:
            self._note(end)
