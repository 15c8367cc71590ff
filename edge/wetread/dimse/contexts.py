"""Which presentation contexts we offer and accept; the conformance statement's tables come from here."""

from __future__ import annotations

from functools import cache

from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import ServiceClass, StorageServiceClass
from pynetdicom.sop_class import register_uid, uid_to_service_class

VERIFICATION = UID("1.2.840.10008.1.1")

# Where one context offers several, we take the first of these that is offered: uncompressed costs the reader least.
_FIRST = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)


@cache
def storage_sop_classes() -> tuple[str, ...]:
    """Every storage SOP class of the Standard (PS3.4 B.5), those retired included: old archives still send them.

    Hanging protocols, procedure logs of the print and media services and the like are not instances of a study.
    """
    standard = {str(cx.abstract_syntax) for cx in AllStoragePresentationContexts}
    dictionary = {
        uid
        for uid, (name, kind, *_rest) in UID_dictionary.items()
        if kind == "SOP Class" and uid.startswith("1.2.840.10008.5.1.4.1.1.") and "Storage" in name
    }
    return tuple(sorted(standard | dictionary))


@cache
def transfer_syntaxes() -> tuple[str, ...]:
    """Every transfer syntax of the Standard, in our order of preference."""
    rest = sorted(str(uid) for uid in AllTransferSyntaxes if uid not in _FIRST)
    return tuple(str(uid) for uid in _FIRST) + tuple(rest)


def accepted_contexts() -> list[PresentationContext]:
    """What the listener accepts: all storage classes in all transfer syntaxes, and Verification."""
    _teach_retired_classes()
    contexts = [build_context(uid, list(transfer_syntaxes())) for uid in storage_sop_classes()]
    contexts.append(build_context(VERIFICATION, [ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
    return contexts


def _teach_retired_classes() -> None:
    """pynetdicom negotiates any class, and then aborts at the first instance of one it does not know to be storage."""
    for uid in storage_sop_classes():
        if uid_to_service_class(uid) is ServiceClass:
            register_uid(uid, f"Retired{uid.replace('.', '_')}", StorageServiceClass)


def offered_contexts(instances: set[tuple[str, str]]) -> list[PresentationContext]:
    """Contexts for sending these ``(SOP class, transfer syntax)`` pairs, one for each: the peer answers each by itself.

    Built from the objects at hand: pynetdicom's own lists lack Label Map Segmentation or exceed the 128 contexts that
    one association may propose (PS3.8 9.3.2.2).
    """
    return [build_context(sop_class, syntax) for sop_class, syntax in sorted(instances)]
