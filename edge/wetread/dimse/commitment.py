"""Storage commitment, push model (PS3.4 Annex J): ask a peer to take responsibility, understand its report; and from
the other side: understand a peer's request, report to it.

The report comes as N-EVENT-REPORT on the association of the request, or on a new one that the peer opens to our
listener, minutes or hours later.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from wetread.dimse.scu import Remote, association
from wetread.errors import DestinationUnavailable, InstanceRefused

COMMITMENT = str(StorageCommitmentPushModel)

NO_SUCH_OBJECT = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119

_REQUEST = 1  # Action Type ID, PS3.4 Table J.3-1
_EVENT_TYPES = (1, 2)  # all committed; failures exist. PS3.4 Table J.3-2
_SUCCESS = 0x0000


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """What a peer says about one request."""

    transaction_uid: str
    committed: tuple[str, ...]
    """SOP Instance UIDs it is responsible for from now on."""
    failed: tuple[tuple[str, int], ...]
    """``(SOP Instance UID, failure reason)``, PS3.3 C.14.1.1."""


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """What a peer asks us."""

    transaction_uid: str
    instances: tuple[tuple[str, str], ...]
    """``(SOP class, SOP instance)``."""


def ask_commitment(
    remote: Remote, transaction_uid: str, instances: Sequence[tuple[str, str]], *, wait_s: float
) -> CommitmentReport | None:
    """N-ACTION for these ``(SOP class, SOP instance)`` pairs; the report, if it comes within ``wait_s``.

    None: the peer took the request and will report on an association of its own.

    Raises: ``DestinationUnavailable`` when the peer cannot be asked or refuses the request; ``ServiceNotOffered`` when
    it does not do storage commitment.
    """
    arrived = threading.Event()
    reports: list[CommitmentReport] = []

    def on_report(event: Any) -> tuple[int, None]:
        try:
            report = report_of(event)
        except InstanceRefused:
            return 0x0115, None
        if report.transaction_uid == transaction_uid:
            reports.append(report)
            arrived.set()
        return _SUCCESS, None

    with association(remote, {(COMMITMENT, str(ImplicitVRLittleEndian))}) as assoc:
        assoc.bind(evt.EVT_N_EVENT_REPORT, on_report)
        request = _request(transaction_uid, instances)
        try:
            status, _reply = assoc.send_n_action(request, _REQUEST, COMMITMENT, StorageCommitmentPushModelInstance)
        except RuntimeError as exc:
            raise DestinationUnavailable(f"{remote.label} ended the association") from exc
        code = getattr(status, "Status", None)
        if code is None:
            raise DestinationUnavailable(f"{remote.label} gave no answer to the storage commitment request")
        if code != _SUCCESS:
            raise DestinationUnavailable(f"{remote.label} answered the storage commitment request with 0x{code:04X}")
        arrived.wait(wait_s)
    return reports[0] if reports else None


def report_of(event: Any) -> CommitmentReport:
    """The report in an N-EVENT-REPORT. Raises: ``InstanceRefused`` when it is none."""
    try:
        ds = event.event_information
        transaction_uid = str(ds.TransactionUID)
        committed = tuple(uid for uid, _ in _references(ds, "ReferencedSOPSequence"))
        failed = tuple(_references(ds, "FailedSOPSequence"))
    except Exception as exc:  # pydicom raises whatever the damage leads to; the peer is told
        raise InstanceRefused("the storage commitment report cannot be read") from exc
    if event.event_type not in _EVENT_TYPES:
        raise InstanceRefused(f"event type {event.event_type} is not one of storage commitment")
    return CommitmentReport(transaction_uid, committed, failed)


def request_of(event: Any) -> CommitmentRequest:
    """The request in an N-ACTION. Raises: ``InstanceRefused`` when it is none."""
    try:
        ds = event.action_information
        transaction_uid = str(ds.TransactionUID)
        instances = tuple((str(i.ReferencedSOPClassUID), str(i.ReferencedSOPInstanceUID)) for i in _items(ds))
    except Exception as exc:  # pydicom raises whatever the damage leads to; the peer is told
        raise InstanceRefused("the storage commitment request cannot be read") from exc
    if event.action_type != _REQUEST or not transaction_uid or not instances:
        raise InstanceRefused("the request names no transaction, no instances or another action")
    return CommitmentRequest(transaction_uid, instances)


def send_report(remote: Remote, report: CommitmentReport, sop_classes: Mapping[str, str]) -> None:
    """N-EVENT-REPORT to a peer that asked us, on an association of our own (PS3.4 J.3.3).

    We propose to be SCP there. ``sop_classes``: by SOP Instance UID.
    Raises: ``DestinationUnavailable`` when the peer does not take it.
    """
    context = build_context(COMMITMENT, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    event_type = _EVENT_TYPES[1] if report.failed else _EVENT_TYPES[0]
    with association(remote, set(), store_contexts=[context]) as assoc:
        try:
            status, _ = assoc.send_n_event_report(
                _report(report, sop_classes), event_type, COMMITMENT, StorageCommitmentPushModelInstance
            )
        except RuntimeError as exc:
            raise DestinationUnavailable(f"{remote.label} ended the association") from exc
    code = getattr(status, "Status", None)
    if code is None:
        raise DestinationUnavailable(f"{remote.label} gave no answer to the storage commitment report")
    if code != _SUCCESS:
        raise DestinationUnavailable(f"{remote.label} answered the storage commitment report with 0x{code:04X}")


def accept_commitment(ae: AE) -> None:
    """Let a peer report to our listener as the service's provider, and let one ask us as its user.

    Roles: a peer that reports proposes to be SCP (PS3.7 D.3.3.4). Assigning ``supported_contexts`` would drop them.
    """
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    ae.add_supported_context(UID(COMMITMENT), syntaxes, scu_role=True, scp_role=True)


def _request(transaction_uid: str, instances: Sequence[tuple[str, str]]) -> Dataset:
    ds = Dataset()
    ds.TransactionUID = UID(transaction_uid)
    ds.ReferencedSOPSequence = [_reference(sop_class, uid) for sop_class, uid in instances]
    return ds


def _report(report: CommitmentReport, sop_classes: Mapping[str, str]) -> Dataset:
    """PS3.4 Table J.3-2."""
    ds = Dataset()
    ds.TransactionUID = UID(report.transaction_uid)
    if report.committed:
        ds.ReferencedSOPSequence = [_reference(sop_classes[uid], uid) for uid in report.committed]
    if report.failed:
        ds.FailedSOPSequence = []
        for uid, reason in report.failed:
            item = _reference(sop_classes[uid], uid)
            item.FailureReason = reason
            ds.FailedSOPSequence.append(item)
    return ds


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = UID(sop_class_uid)
    item.ReferencedSOPInstanceUID = UID(sop_instance_uid)
    return item


def _items(ds: Dataset) -> Sequence[Dataset]:
    return list(ds.get("ReferencedSOPSequence") or ())


def _references(ds: Dataset, keyword: str) -> Iterator[tuple[str, int]]:
    for item in ds.get(keyword) or ():
        yield str(item.ReferencedSOPInstanceUID), int(item.get("FailureReason") or 0)
