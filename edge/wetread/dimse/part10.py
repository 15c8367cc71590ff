"""A Part 10 file in memory, taken apart without decoding its pixels (PS3.10 7.1)."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import pydicom

from wetread.errors import NotDicom

_KEYWORDS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"]


@dataclass(frozen=True, slots=True)
class Part10:
    """What an entrance needs to know; the data set is bit for bit as it came."""

    dataset: bytes
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str


def split_part10(body: bytes) -> Part10:
    """Take a file apart. Raises: ``NotDicom``."""
    try:
        header = pydicom.dcmread(BytesIO(body), stop_before_pixels=True, specific_tags=_KEYWORDS)
        meta = header.file_meta
        # Preamble and prefix, the group length element (12 bytes), then as many bytes as it says.
        offset = 132 + 12 + int(meta.FileMetaInformationGroupLength)
        return Part10(
            dataset=body[offset:],
            sop_class_uid=str(header.SOPClassUID),
            sop_instance_uid=str(header.SOPInstanceUID),
            study_instance_uid=str(header.StudyInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
        )
    except Exception as exc:  # pydicom raises whatever the damage leads to; the sender is told, nothing is kept
        raise NotDicom("not a readable DICOM Part 10 file with class, instance and study UIDs") from exc
