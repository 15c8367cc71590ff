"""Instances as the listener hands them to the spool."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pydicom

from wetread.records.received import Provenance, ReceivedInstance

PROVENANCE = Provenance(
    entrance="c-store",
    peer="ct1",
    address="10.0.0.7",
    calling_ae_title="CT1",
    called_ae_title="WETREAD",
    association_id="a1",
    received_at=datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC),
)


def received(
    path: Path, *, uid: str | None = None, sop_class: str | None = None, **provenance: object
) -> ReceivedInstance:
    """The data set of a file as a peer would send it; ``uid`` and ``sop_class`` are what the request claims.

    ``provenance`` replaces fields of ``PROVENANCE``.
    """
    meta = pydicom.filereader.read_file_meta_info(path)
    # Preamble and prefix, the group length element (12 bytes), then as many bytes as it says (PS3.10 7.1).
    offset = 132 + 12 + meta.FileMetaInformationGroupLength
    return ReceivedInstance(
        dataset=path.read_bytes()[offset:],
        sop_class_uid=str(meta.MediaStorageSOPClassUID) if sop_class is None else sop_class,
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID) if uid is None else uid,
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
        provenance=replace(PROVENANCE, **provenance),  # type: ignore[arg-type]
    )
