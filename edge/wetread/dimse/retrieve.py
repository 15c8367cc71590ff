"""C-MOVE and C-GET service class user: have a peer send us a study (Study Root, PS3.4 C.4.2 and C.4.3)."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import StoragePresentationContexts, _config, evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from wetread.dimse.contexts import transfer_syntaxes
from wetread.dimse.scu import Remote, association
from wetread.errors import DestinationUnavailable, InstanceRefused, SpoolUnavailable
from wetread.records.received import Provenance, ReceivedInstance

MOVE = str(StudyRootQueryRetrieveInformationModelMove)
GET = str(StudyRootQueryRetrieveInformationModelGet)

_PENDING = (0xFF00, 0xFF01)  # PS3.4 Table C.4-2
_SUCCESS, _WARNING = 0x0000, 0xB000
_OUT_OF_RESOURCES, _CANNOT_UNDERSTAND = 0xA700, 0xC000
_SILENCE_S = 300.0  # many archives say nothing between the first instance and the last


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What a peer says it did (PS3.4 C.4.2.1.6 and following)."""

    how: str
    """``C-MOVE`` or ``C-GET``."""
    completed: int
    failed: int
    """Sub-operations: instances."""


def move_study(remote: Remote, study_instance_uid: str) -> Retrieved:
    """C-MOVE to our own AE title: the instances come through the listener, which must be known to the peer.

    Raises: ``ServiceNotOffered`` when the peer does not do C-MOVE, ``DestinationUnavailable`` when it fails.
    """
    patient_remote = dataclasses.replace(remote, timeout_s=_SILENCE_S)
    with association(patient_remote, {(MOVE, str(ImplicitVRLittleEndian))}) as assoc:
        answers = assoc.send_c_move(_question(study_instance_uid), remote.calling_ae_title, MOVE)
        return _last_word(remote, "C-MOVE", answers)


def get_study(
    remote: Remote, study_instance_uid: str, keep: Callable[[ReceivedInstance], object], *, peer: str
) -> Retrieved:
    """C-GET: the instances come on our own association and go to ``keep``, which returns when they are durable.

    Raises: as ``move_study``.
    """
    patient_remote = dataclasses.replace(remote, timeout_s=_SILENCE_S)
    question = _question(study_instance_uid)
    pair = {(GET, str(ImplicitVRLittleEndian))}
    with association(patient_remote, pair, store_contexts=_store_contexts()) as assoc:
        association_id = uuid.uuid4().hex

        def on_store(event: Any) -> int:
            try:
                keep(_received(event, remote, peer=peer, association_id=association_id))
            except InstanceRefused:
                return _CANNOT_UNDERSTAND
            except SpoolUnavailable:
                return _OUT_OF_RESOURCES
            return _SUCCESS

        assoc.bind(evt.EVT_C_STORE, on_store)
        return _last_word(remote, "C-GET", assoc.send_c_get(question, GET))


def _store_contexts() -> list[PresentationContext]:
    """The storage classes in use today: with those of C-GET they fit into the 128 contexts of one association."""
    return [build_context(cx.abstract_syntax, list(transfer_syntaxes())) for cx in StoragePresentationContexts]


def _question(study_instance_uid: str) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = "STUDY"
    ds.StudyInstanceUID = study_instance_uid
    return ds


def _last_word(remote: Remote, how: str, answers: Iterable[tuple[Dataset, Dataset | None]]) -> Retrieved:
    # pynetdicom would print identifiers of failed instances.
    _config.LOG_RESPONSE_IDENTIFIERS = False
    for status, _identifier in answers:
        code = getattr(status, "Status", None)
        if code in _PENDING:
            continue
        if code is None:
            break
        completed = int(status.get("NumberOfCompletedSuboperations") or 0)
        completed += int(status.get("NumberOfWarningSuboperations") or 0)
        failed = int(status.get("NumberOfFailedSuboperations") or 0)
        if code in (_SUCCESS, _WARNING):
            return Retrieved(how, completed, failed)
        comment = str(status.get("ErrorComment") or "")
        raise DestinationUnavailable(f"{remote.label} answered {how} with status 0x{code:04X} {comment}".rstrip())
    raise DestinationUnavailable(f"{remote.label} gave no last answer to {how}")


def _received(event: Any, remote: Remote, *, peer: str, association_id: str) -> ReceivedInstance:
    return ReceivedInstance(
        dataset=event.encoded_dataset(include_meta=False),
        sop_class_uid=str(event.request.AffectedSOPClassUID or ""),
        sop_instance_uid=str(event.request.AffectedSOPInstanceUID or ""),
        transfer_syntax_uid=str(event.context.transfer_syntax),
        provenance=Provenance(
            entrance="c-get",
            peer=peer,
            address=remote.host,
            calling_ae_title=remote.ae_title,
            called_ae_title=remote.calling_ae_title,
            association_id=association_id,
            received_at=datetime.now(UTC),
        ),
    )
