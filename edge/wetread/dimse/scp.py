"""A C-STORE and C-ECHO service class provider on a socket; policy (who may send, what happens) is handed in."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.pdu_primitives import A_ABORT

from wetread.dimse.contexts import accepted_contexts
from wetread.dimse.server import Server
from wetread.errors import InstanceRefused, Misconfigured, SpoolUnavailable
from wetread.records.notes import AssociationEnd, Ended
from wetread.records.received import Provenance, ReceivedInstance

logger = logging.getLogger(__name__)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700  # PS3.4 Table B.2-1
CANNOT_UNDERSTAND = 0xC000

_STOP_TIMEOUT_S = 3.0

# A-ASSOCIATE-RJ result, source, reason (PS3.8 Table 9-21)
_CALLING_NOT_RECOGNIZED = (0x01, 0x01, 0x03)
_CALLED_NOT_RECOGNIZED = (0x01, 0x01, 0x07)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for an association."""

    calling_ae_title: str
    called_ae_title: str
    address: str


class CallingRefused(Exception):
    """The caller's AE title or address is not one of ours."""


class CalledRefused(Exception):
    """The called AE title is not one of ours."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The listener's policy.

    ``admit`` names the peer of a caller, or raises ``CallingRefused`` / ``CalledRefused``. ``keep`` returns only after
    the instance is durable; ``InstanceRefused`` and ``SpoolUnavailable`` become failure statuses. ``ended`` is told
    about the end of each association that was admitted, after the last of its instances was kept.
    """

    admit: Callable[[Caller], str]
    keep: Callable[[ReceivedInstance], object]
    refused: Callable[[Caller, str], None]
    ended: Callable[[AssociationEnd], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one listener takes on."""

    max_associations: int
    network_timeout_s: float
    max_pdu_bytes: int


class StorageScp:
    """The server: ``start`` binds the port, ``stop`` ends it."""

    def __init__(self, callbacks: Callbacks, limits: Limits) -> None:
        self._callbacks = callbacks
        self._ae = AE(ae_title="WETREAD")
        self._ae.supported_contexts = accepted_contexts()
        self._ae.maximum_associations = limits.max_associations
        self._ae.network_timeout = limits.network_timeout_s
        self._ae.maximum_pdu_size = limits.max_pdu_bytes
        self._server: Server | None = None

    def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which matters when 0 was asked for.

        Raises: ``Misconfigured`` when the address cannot be bound.
        """
        # pynetdicom would print whole data sets and requests, patient names included.
        _config.LOG_HANDLER_LEVEL = "none"
        handlers = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_ACSE_RECV, self._on_acse),
            (evt.EVT_RELEASED, lambda event: self._end(event.assoc)),
        ]
        try:
            self._server = self._ae.make_server(
                (host, port), evt_handlers=handlers, server_class=Server, on_end=self._end
            )
        except OSError as exc:
            raise Misconfigured(
                f"cannot listen on {host}:{port}: {exc.strerror or exc}; is another program using the port?"
            ) from exc
        self._ae._servers.append(self._server)
        return self._server.start()

    def stop(self) -> None:
        """Close the port; associations under way are aborted, what they stored stays."""
        if self._server is not None:
            self._server.shutdown()
            self._ae.shutdown()
            self._server.wait_for_connections(_STOP_TIMEOUT_S)
            self._server = None

    def _on_requested(self, event: Any) -> None:
        caller = _caller(event.assoc)
        try:
            event.assoc.wetread_peer = self._callbacks.admit(caller)
        except (CallingRefused, CalledRefused) as exc:
            self._callbacks.refused(caller, str(exc))
            answer = _CALLING_NOT_RECOGNIZED if isinstance(exc, CallingRefused) else _CALLED_NOT_RECOGNIZED
            event.assoc.acse.send_reject(*answer)
            event.assoc.kill()
            return
        event.assoc.wetread_id = uuid.uuid4().hex
        event.assoc.wetread_count = 0

    def _on_store(self, event: Any) -> int | Dataset:
        try:
            self._callbacks.keep(_received(event))
        except InstanceRefused as exc:
            return _failure(CANNOT_UNDERSTAND, str(exc))
        except SpoolUnavailable as exc:
            return _failure(OUT_OF_RESOURCES, str(exc))
        except Exception:
            # Whatever went wrong, the sender must not believe that we have the instance.
            logger.exception("storing an instance failed")
            return _failure(CANNOT_UNDERSTAND, "internal error, see the log")
        event.assoc.wetread_count += 1
        return SUCCESS

    def _on_acse(self, event: Any) -> None:
        if isinstance(event.primitive, A_ABORT):
            event.assoc.wetread_aborted = True

    def _end(self, assoc: Any) -> None:
        """Report the end once: after a release at once, else when the association's thread has ended."""
        if not getattr(assoc, "wetread_id", "") or getattr(assoc, "wetread_ended", False):
            return
        assoc.wetread_ended = True
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


def _caller(assoc: Any) -> Caller:
    primitive = assoc.requestor.primitive
    return Caller(
        calling_ae_title=(primitive.calling_ae_title if primitive else "").strip(),
        called_ae_title=(primitive.called_ae_title if primitive else "").strip(),
        address=_plain_address(assoc.requestor.address),
    )


def _plain_address(address: str) -> str:
    """The peer's address; an IPv4 peer on a dual-stack socket is shown and matched as IPv4."""
    parsed = ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def _received(event: Any) -> ReceivedInstance:
    caller = _caller(event.assoc)
    request = event.request
    return ReceivedInstance(
        dataset=event.encoded_dataset(include_meta=False),
        sop_class_uid=str(request.AffectedSOPClassUID or ""),
        sop_instance_uid=str(request.AffectedSOPInstanceUID or ""),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        provenance=Provenance(
            entrance="c-store",
            peer=event.assoc.wetread_peer,
            address=caller.address,
            calling_ae_title=caller.calling_ae_title,
            called_ae_title=caller.called_ae_title,
            association_id=event.assoc.wetread_id,
            received_at=datetime.now(UTC),
        ),
    )


def _failure(status: int, comment: str) -> Dataset:
    ds = Dataset()
    ds.Status = status
    # Error Comment is LO, 64 characters (PS3.7 Annex C).
    ds.ErrorComment = comment[:64]
    return ds
