"""What a STOW-RS client hears: one status for the request, and for each instance whether we have it (PS3.18 10.5.3)."""

from __future__ import annotations

import json

from pydicom import Dataset
from pydicom.uid import UID

# Failure Reason (0008,1197), PS3.18 Table I.2-2
PROCESSING_FAILURE = 0x0110
SOP_CLASS_NOT_SUPPORTED = 0x0122
OUT_OF_RESOURCES = 0xA700
OTHER_STUDY = 0xA900
CANNOT_UNDERSTAND = 0xC000
TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122

MEDIA_TYPE = "application/dicom+json"


class StowAnswer:
    """Collects the fate of each part."""

    def __init__(self) -> None:
        self._stored: list[Dataset] = []
        self._failed: list[Dataset] = []
        self._other: list[Dataset] = []
        self._reasons: set[int] = set()

    @property
    def stored(self) -> int:
        """How many instances we have on disk."""
        return len(self._stored)

    def store(self, sop_class_uid: str, sop_instance_uid: str) -> None:
        """This instance is kept."""
        item = _reference(sop_class_uid, sop_instance_uid)
        item.RetrieveURL = ""  # type 2: what we took is not offered for retrieval
        self._stored.append(item)

    def fail(self, reason: int, sop_class_uid: str = "", sop_instance_uid: str = "") -> None:
        """This one is not; without UIDs it could not be told what it is."""
        self._reasons.add(reason)
        item = _reference(sop_class_uid, sop_instance_uid) if sop_instance_uid else Dataset()
        item.FailureReason = reason
        (self._failed if sop_instance_uid else self._other).append(item)

    @property
    def status(self) -> int:
        """PS3.18 Table 10.5.3-1: 200 all stored, 202 some, 409 none; 503 when only the disk kept us from it."""
        if not self._failed and not self._other:
            return 200
        if self._stored:
            return 202
        return 503 if self._reasons == {OUT_OF_RESOURCES} else 409

    def body(self) -> bytes:
        """The Store Instances Response Module as DICOM JSON (PS3.18 Table 10.5.3-2)."""
        ds = Dataset()
        if self._stored:
            ds.ReferencedSOPSequence = self._stored
        if self._failed:
            ds.FailedSOPSequence = self._failed
        if self._other:
            ds.OtherFailuresSequence = self._other
        return json.dumps(ds.to_json_dict()).encode()


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = UID(sop_class_uid, validation_mode=0)
    item.ReferencedSOPInstanceUID = UID(sop_instance_uid, validation_mode=0)
    return item
