"""A C-STORE and C-ECHO service class provider on a socket; policy (who may send, what happens) is handed in."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Literal

from pydicom import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.pdu_primitives import A_ABORT

from wetread.dimse.blocking import BlockingReader
from wetread.dimse.command import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, SUCCESS, StoreRequest
from wetread.dimse.commitment import CommitmentReport, CommitmentRequest, accept_commitment, report_of, request_of
from wetread.dimse.connection import ReadLimits
from wetread.dimse.contexts import accepted_contexts
from wetread.dimse.door import TurnedAway
from wetread.dimse.places import Places
from wetread.dimse.scratch import Scratch
from wetread.dimse.server import DoorSettings, Server, listening_socket
from wetread.dimse.tls import Certificate
from wetread.errors import InstanceRefused, SpoolUnavailable
from wetread.records.notes import AssociationEnd, Ended, new_association_id
from wetread.records.received import Provenance, ReceivedInstance

logger = logging.getLogger(__name__)

PROCESSING_FAILURE = 0x0110  # PS3.7 Annex C
INVALID_ARGUMENT = 0x0115
NOT_AUTHORIZED = 0x0124
RESOURCE_LIMITATION = 0x0213

_STOP_TIMEOUT_S = 3.0

# A-ASSOCIATE-RJ result, source, reason (PS3.8 Table 9-21)
_CALLING_NOT_RECOGNIZED = (0x01, 0x01, 0x03)
_CALLED_NOT_RECOGNIZED = (0x01, 0x01, 0x07)
_LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for an association."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    encrypted: bool = False
    certificate: Certificate | None = None
    """What it showed in the TLS handshake; it is valid, and of an authority we believe."""


class Refused(Exception):
    """We do not talk to this caller: a sentence, and what is probably wrong."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


class CallingRefused(Refused):
    """The caller's AE title, address or certificate is not one of ours."""


class CalledRefused(Refused):
    """The called AE title is not one of ours."""


def nobody_may_ask(_peer: str, _request: CommitmentRequest) -> object:
    """Storage commitment is not answered here. Raises: ``Refused``."""
    raise Refused("storage commitment is not answered here")


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The listener's policy.

    ``admit`` names the peer of a caller, or raises ``CallingRefused`` / ``CalledRefused``. ``refused`` is told about
    every caller that got no association, with reason and hint; what is known of it may be the address alone.
    ``keep`` returns only after the instance is durable; ``InstanceRefused`` and ``SpoolUnavailable`` become failure
    statuses. ``ended`` is told about the end of each association that was admitted, after the last of its instances
    was kept; ``reported`` about a peer's storage commitment report, ``asked`` about its request for one: both return
    only after it is durable, or raise ``Refused`` when that peer may not ask.
    ``scratch`` is room on the disk for a data set too large for memory.
    """

    admit: Callable[[Caller], str]
    keep: Callable[[ReceivedInstance], object]
    refused: Callable[[Caller, str, str], None]
    ended: Callable[[AssociationEnd], None]
    reported: Callable[[str, CommitmentReport], object]
    asked: Callable[[str, CommitmentRequest], object] = nobody_may_ask
    scratch: Callable[[], Scratch] = Scratch


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener takes on."""

    max_associations: int
    network_timeout_s: float
    max_pdu_bytes: int
    request_timeout_s: float = 10.0
    max_instance_bytes: int = 2**31
    reader: Literal["blocking", "pynetdicom"] = "blocking"


class StorageScp:
    """The server: ``start`` binds a port, with TLS or without, and may be called for each; ``stop`` ends them all."""

    def __init__(self, callbacks: Callbacks, limits: Limits, places: Places | None = None) -> None:
        """``places`` are shared with other processes that accept from the same sockets."""
        self._callbacks = callbacks
        self._places = places or Places(limits.max_associations)
        self._ae = AE(ae_title="WETREAD")
        self._ae.supported_contexts = accepted_contexts()
        accept_commitment(self._ae)
        self._ae.maximum_associations = sys.maxsize  # counted here, where only admitted callers count
        self._ae.network_timeout = limits.network_timeout_s
        # For a rejected or released peer that does not close the connection (ARTIM, PS3.8 9.1.5).
        self._ae.acse_timeout = limits.request_timeout_s
        self._ae.maximum_pdu_size = limits.max_pdu_bytes
        self._limits = limits
        self._servers: list[Server] = []
        self._lock = threading.Lock()

    def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port, which matters when 0 was asked for.

        Raises: ``Misconfigured`` when the address cannot be bound.
        """
        return self.accept(listening_socket(host, port), tls)

    def accept(self, listening: socket.socket, tls: ssl.SSLContext | None = None) -> int:
        """Accept from a socket that listens already; returns its port."""
        # pynetdicom would print whole data sets and requests, patient names included.
        _config.LOG_HANDLER_LEVEL = "none"
        handlers = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_N_EVENT_REPORT, self._on_report),
            (evt.EVT_N_ACTION, self._on_asked),
            (evt.EVT_ACSE_RECV, self._on_acse),
            (evt.EVT_RELEASED, lambda event: self._end(event.assoc)),
            (evt.EVT_ESTABLISHED, _on_next_message),
            (evt.EVT_DIMSE_SENT, _on_next_message),
        ]
        server = self._ae.make_server(
            listening.getsockname(),
            evt_handlers=handlers,
            server_class=Server,
            listening=listening,
            door=self._door(tls),
            on_end=self._on_thread_end,
            on_turned_away=self._on_turned_away,
        )
        self._ae._servers.append(server)
        self._servers.append(server)
        return server.start()

    def stop(self) -> None:
        """Close the port; associations under way are aborted, what they stored stays."""
        for server in self._servers:
            server.shutdown()
        self._ae.shutdown()
        for server in self._servers:
            server.wait_for_connections(_STOP_TIMEOUT_S)
        self._servers.clear()

    def _door(self, tls: ssl.SSLContext | None) -> DoorSettings:
        limits = self._limits
        read = ReadLimits(limits.network_timeout_s, limits.max_pdu_bytes, limits.max_instance_bytes)
        return DoorSettings(tls, limits.request_timeout_s, limits.max_associations, read)

    def _on_turned_away(self, address: str, why: TurnedAway) -> None:
        self._callbacks.refused(Caller("", "", _plain_address(address)), str(why), why.hint)

    def _on_requested(self, event: Any) -> None:
        assoc, caller = event.assoc, _caller(event.assoc)
        try:
            assoc.wetread_peer = self._callbacks.admit(caller)
            assoc.wetread_place = self._take_place()
        except Refused as exc:
            assoc.wetread_refused = True
            self._callbacks.refused(caller, str(exc), exc.hint)
            assoc.acse.send_reject(*_answer_to(exc))
            assoc.kill()
            return
        assoc.wetread_caller = caller
        assoc.wetread_count = 0
        assoc.wetread_id = new_association_id()
        if self._limits.reader == "blocking":
            BlockingReader(assoc, self._store, self._callbacks.scratch).take_over()

    def _take_place(self) -> int:
        place = self._places.take()
        if place is None:
            most = self._places.count
            raise Refused(f"{most} associations at one time are the limit", "see [listener] max_associations")
        return place

    def _on_store(self, event: Any) -> int | Dataset:
        request = event.request
        uids = StoreRequest(0, str(request.AffectedSOPClassUID or ""), str(request.AffectedSOPInstanceUID or ""))
        dataset = memoryview(event.encoded_dataset(include_meta=False))
        status, comment = self._store(event.assoc, uids, str(event.context.transfer_syntax), dataset)
        return _failure(status, comment) if comment else status

    def _store(self, assoc: Any, request: StoreRequest, syntax_uid: str, dataset: memoryview) -> tuple[int, str]:
        """Keep one instance: status and error comment. Both ways of reading an association end here."""
        try:
            self._callbacks.keep(_received(assoc, request, syntax_uid, dataset))
        except InstanceRefused as exc:
            return CANNOT_UNDERSTAND, str(exc)
        except SpoolUnavailable as exc:
            return OUT_OF_RESOURCES, str(exc)
        except MemoryError:
            return OUT_OF_RESOURCES, "not enough memory for the instance now"
        except Exception:  # logged; the sender must not believe that we have the instance, nor that it is at fault
            logger.exception("storing an instance failed")
            return PROCESSING_FAILURE, "internal error, see the log"
        assoc.wetread_count += 1
        return SUCCESS, ""

    def _on_report(self, event: Any) -> tuple[int, None]:
        """A peer reports what became of a commitment we asked for (PS3.4 J.3.3)."""
        try:
            self._callbacks.reported(event.assoc.wetread_peer, report_of(event))
        except InstanceRefused:
            return INVALID_ARGUMENT, None
        except Exception:  # logged; the peer reports again, and without the report the object stays unverified
            logger.exception("keeping a storage commitment report failed")
            return PROCESSING_FAILURE, None
        return SUCCESS, None

    def _on_asked(self, event: Any) -> tuple[int, None]:
        """A peer asks for storage commitment (PS3.4 J.3.2); the report comes later, on an association of ours."""
        try:
            self._callbacks.asked(event.assoc.wetread_peer, request_of(event))
        except Refused:
            return NOT_AUTHORIZED, None
        except InstanceRefused:
            return INVALID_ARGUMENT, None
        except OSError:
            return RESOURCE_LIMITATION, None
        except Exception:  # logged; the peer keeps its images until it hears success
            logger.exception("keeping a storage commitment request failed")
            return PROCESSING_FAILURE, None
        return SUCCESS, None

    def _on_acse(self, event: Any) -> None:
        if isinstance(event.primitive, A_ABORT):
            event.assoc.wetread_aborted = True

    def _on_thread_end(self, assoc: Any) -> None:
        problem = assoc.wetread_socket.problem
        if problem:
            logger.warning("an association with %s was ended: %s", assoc.requestor.address, problem)
        known = getattr(assoc, "wetread_id", "") or getattr(assoc, "wetread_refused", False)
        if not known:
            self._callbacks.refused(_caller(assoc), "its association request cannot be read", "")
        self._end(assoc)

    def _end(self, assoc: Any) -> None:
        """Report the end once: after a release at once, else when the association's thread has ended."""
        with self._lock:
            if not getattr(assoc, "wetread_id", "") or getattr(assoc, "wetread_ended", False):
                return
            assoc.wetread_ended = True
            self._places.give_back(assoc.wetread_place)
        ended: Ended = "lost"
        if assoc.is_released:
            ended = "released"
        elif getattr(assoc, "wetread_aborted", False):
            ended = "aborted"
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        end = AssociationEnd(assoc.wetread_id, assoc.wetread_peer, ended, assoc.wetread_count, at)
        try:
            self._callbacks.ended(end)
        except SpoolUnavailable as exc:
            logger.error("the end of an association cannot be noted: %s", exc)


def _on_next_message(event: Any) -> None:
    event.assoc.wetread_socket.next_message()


def _answer_to(refused: Refused) -> tuple[int, int, int]:
    if isinstance(refused, CallingRefused):
        return _CALLING_NOT_RECOGNIZED
    return _CALLED_NOT_RECOGNIZED if isinstance(refused, CalledRefused) else _LOCAL_LIMIT_EXCEEDED


def _caller(assoc: Any) -> Caller:
    primitive = assoc.requestor.primitive
    return Caller(
        calling_ae_title=(primitive.calling_ae_title if primitive else "").strip(),
        called_ae_title=(primitive.called_ae_title if primitive else "").strip(),
        address=_plain_address(assoc.requestor.address),
        encrypted=assoc.wetread_socket.encrypted,
        certificate=assoc.wetread_socket.certificate,
    )


def _plain_address(address: str) -> str:
    """The peer's address; an IPv4 peer on a dual-stack socket is shown and matched as IPv4."""
    parsed = ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def _received(assoc: Any, request: StoreRequest, syntax_uid: str, dataset: memoryview) -> ReceivedInstance:
    caller: Caller = assoc.wetread_caller
    return ReceivedInstance(
        dataset=dataset,
        sop_class_uid=request.sop_class_uid,
        sop_instance_uid=request.sop_instance_uid,
        transfer_syntax_uid=syntax_uid,
        provenance=Provenance(
            entrance="c-store",
            peer=assoc.wetread_peer,
            address=caller.address,
            calling_ae_title=caller.calling_ae_title,
            called_ae_title=caller.called_ae_title,
            association_id=assoc.wetread_id,
            received_at=datetime.now(UTC),
        ),
    )


def _failure(status: int, comment: str) -> Dataset:
    ds = Dataset()
    ds.Status = status
    # Error Comment is LO, 64 characters (PS3.7 Annex C).
    ds.ErrorComment = comment[:64]
    return ds
