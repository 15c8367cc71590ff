"""The spool: instances on disk, one Part 10 file each, kept before the sender hears Success.

::

    spool/incoming/   durable, not yet indexed; the only folder that start-up scans
    spool/studies/    indexed; one folder for each study
    spool/unreadable/ acknowledged, and then found unreadable

File names are ours. Provenance lies in the file itself, as Private Information of the File Meta Information
(0002,0100)/(0002,0102), PS3.10 Table 7.1-1: instance and origin are one atomic write and can never be parted.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from wetread.errors import InstanceRefused, SpoolUnavailable
from wetread.records.notes import Note, note_to_json
from wetread.records.received import Provenance, ReceivedInstance

PROVENANCE_CREATOR = "2.25.269284612403741064427903458216912236981"
"""Private Information Creator UID of our provenance record."""

IMPLEMENTATION_CLASS_UID = "2.25.190403741064427903458216912236982840001"

# Dots and digits, not empty, at most 64 (PS3.5 9.1). Leading zeros are wrong but common and harmless.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_HEADER_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


class Spool:
    """The spool folder. Several processes may ``keep`` at one time; only the coordinator moves files."""

    def __init__(self, folder: Path, *, reserve_bytes: int = 0) -> None:
        self.folder = folder
        self.incoming = folder / "incoming"
        self.studies = folder / "studies"
        self.unreadable = folder / "unreadable"
        self._reserve_bytes = reserve_bytes
        for part in (self.incoming, self.studies, self.unreadable):
            part.mkdir(parents=True, exist_ok=True, mode=0o700)

    def keep(self, received: ReceivedInstance) -> Path:
        """Write one instance and its provenance to disk; when this returns, a power cut does not lose it.

        Raises: ``InstanceRefused`` when the data set is not a readable instance or not the announced one;
        ``SpoolUnavailable`` when the disk is full or cannot be written.
        """
        if not is_uid(received.sop_instance_uid):
            raise InstanceRefused("the SOP Instance UID is not a valid UID")
        part10 = _part10(received)
        _check(received, part10)
        self._check_room(len(part10))
        return self._write(_new_name(".dcm"), part10)

    def note(self, note: Note) -> Path:
        """Leave a message for the coordinator; as durable as an instance, and taken in after those kept before it."""
        return self._write(_new_name(".event.json"), note_to_json(note).encode())

    def waiting(self) -> Iterator[Path]:
        """Files in ``incoming/`` in the order they came; parts of unfinished writes are not shown."""
        yield from (self.incoming / name for name in sorted(os.listdir(self.incoming)) if not name.startswith("."))

    def discard_unfinished(self) -> int:
        """Delete what a crash left half written (never acknowledged); returns how many. At start-up only."""
        unfinished = list(self.incoming.glob(".*"))
        for path in unfinished:
            path.unlink()
        return len(unfinished)

    def _check_room(self, size: int) -> None:
        free = shutil.disk_usage(self.incoming).free
        if free < self._reserve_bytes + size:
            raise SpoolUnavailable(
                f"{free // 2**20} MiB free on the spool's disk, {self._reserve_bytes // 2**20} MiB are kept in reserve"
            )

    def _write(self, name: str, body: bytes) -> Path:
        path = self.incoming / name
        part = self.incoming / f".{name}"
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(body)
                stream.flush()
                os.fsync(stream.fileno())
            part.rename(path)
            sync_folder(self.incoming)
        except OSError as exc:
            part.unlink(missing_ok=True)
            raise SpoolUnavailable(f"the spool cannot be written: {exc.strerror}") from exc
        return path


def provenance_of(path: Path) -> Provenance | None:
    """The provenance inside a spool file; None if another program wrote the file."""
    meta = pydicom.filereader.read_file_meta_info(path)
    if meta.get("PrivateInformationCreatorUID") != PROVENANCE_CREATOR:
        return None
    fields = json.loads(bytes(meta.PrivateInformation).rstrip(b"\0 "))
    return Provenance(**{**fields, "received_at": datetime.fromisoformat(fields["received_at"])})


def sync_folder(folder: Path) -> None:
    """Make renames and new names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new_name(suffix: str) -> str:
    # Sorts by time of arrival within one boot; uniqueness comes from the random part.
    return f"{time.time_ns():020d}-{uuid.uuid4().hex}{suffix}"


def _check(received: ReceivedInstance, part10: bytes) -> None:
    """Refuse what could never be indexed, while the sender can still be told."""
    try:
        header = pydicom.dcmread(BytesIO(part10), stop_before_pixels=True, specific_tags=list(_HEADER_KEYWORDS))
        values = {keyword: str(header.get(keyword, "")) for keyword in _HEADER_KEYWORDS}
    except Exception as exc:
        # pydicom raises whatever the damage leads to; the sender is told, nothing is kept.
        raise InstanceRefused("the data set cannot be read") from exc
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not is_uid(values[keyword]):
            raise InstanceRefused(f"{keyword} is missing or not a valid UID")
    if values["SOPInstanceUID"] != received.sop_instance_uid or values["SOPClassUID"] != received.sop_class_uid:
        raise InstanceRefused("SOP Class or Instance UID of request and data set differ")


def is_uid(text: str) -> bool:
    """Whether ``text`` is usable as a UID."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _part10(received: ReceivedInstance) -> bytes:
    fields = dataclasses.asdict(received.provenance)
    fields["received_at"] = received.provenance.received_at.isoformat()
    private = json.dumps(fields).encode()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(received.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(received.sop_instance_uid)
    meta.TransferSyntaxUID = UID(received.transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = "WETREAD"
    meta.PrivateInformationCreatorUID = UID(PROVENANCE_CREATOR)
    meta.PrivateInformation = private + b"\0" * (len(private) % 2)
    buffer = BytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return buffer.getvalue() + received.dataset
