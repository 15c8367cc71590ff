"""Uploads: a zip, or files one by one, into the same ``keep`` as C-STORE.

Names inside an archive are for messages alone and never become paths. What an archive says of itself is checked before
anything is kept: nothing of a zip bomb, of a zip with names that lead out of it, or of a damaged one.
"""

from __future__ import annotations

import logging
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import IO, Any, Protocol

from wetread.dimse.contexts import storage_sop_classes, transfer_syntaxes
from wetread.dimse.part10 import Part10, split_part10
from wetread.errors import InstanceRefused, NotDicom, SpoolUnavailable, UploadRefused, UploadTooLarge
from wetread.records.notes import AssociationEnd, Ended, Note, new_association_id
from wetread.records.received import Provenance, ReceivedInstance

logger = logging.getLogger(__name__)

PEER = "upload"
"""What provenance and evidence call whoever uploads; who it was stands in the provenance's calling AE title."""

_PRIORITY = 10  # interactive: somebody sits before it
_MAX_DIRECTORY_BYTES = 64 * 2**20
_SHOWN = 1000
_SHOWN_NAME = 200
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others may ask for gigabytes of memory to unpack a few bytes."""
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x06"
_DRIVE = re.compile(r"^[A-Za-z]:")


class Keep(Protocol):
    """Makes an instance durable, then returns; ``InstanceRefused`` and ``SpoolUnavailable`` otherwise."""

    def __call__(self, received: ReceivedInstance) -> object: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one upload may be."""

    upload_bytes: int
    """Unpacked."""
    instance_bytes: int


@dataclass(frozen=True, slots=True)
class Uploader:
    """Who uploads, and from where."""

    address: str
    reader: str


@dataclass(slots=True)
class Upload:
    """One upload: give it what came, then ``end`` it."""

    keep: Keep
    note: Callable[[Note], object]
    limits: Limits
    uploader: Uploader
    kept: int = 0
    studies: dict[str, None] = field(default_factory=dict)
    refused: list[dict[str, str]] = field(default_factory=list)
    _id: str = field(default_factory=new_association_id)

    def take(self, name: str, body: bytes) -> None:
        """Keep one file, or note why not. Raises: ``SpoolUnavailable``."""
        try:
            instance = split_part10(body)
            _check(instance)
            self.keep(self._received(instance))
        except (NotDicom, InstanceRefused) as exc:
            self.refuse(name, str(exc))
        else:
            self.kept += 1
            self.studies[instance.study_instance_uid] = None

    def take_zip(self, file: IO[bytes]) -> None:
        """Keep every instance of an archive.

        Raises: ``UploadRefused``, ``UploadTooLarge``: then nothing of it was kept; ``SpoolUnavailable``.
        """
        with _opened(file) as archive:
            entries = [info for info in archive.infolist() if not info.is_dir()]
            self._check_whole(entries)
            for info in entries:
                self._take_entry(archive, info)

    def refuse(self, name: str, reason: str) -> None:
        """Note that a file was not kept."""
        if len(self.refused) < _SHOWN:
            self.refused.append({"name": name[:_SHOWN_NAME], "reason": reason})

    def end(self, ended: Ended) -> None:
        """The uploader has sent all there was, or is gone: evidence for the completeness of the studies."""
        if not self.kept:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self.note(AssociationEnd(self._id, PEER, ended, self.kept, at))
        except SpoolUnavailable as exc:
            logger.error("the end of an upload cannot be noted: %s", exc)

    def document(self) -> dict[str, Any]:
        """What became of it."""
        return {"studies": list(self.studies), "kept": self.kept, "refused": self.refused}

    def _check_whole(self, entries: list[zipfile.ZipInfo]) -> None:
        for info in entries:
            if leads_out(info.filename):
                raise UploadRefused(
                    f"the archive holds the name {info.filename[:_SHOWN_NAME]!r}, which leads out of it; such archives"
                    " are refused as a whole"
                )
        # zipfile never unpacks more of an entry than the archive says.
        size = sum(info.file_size for info in entries)
        if size > self.limits.upload_bytes:
            raise UploadTooLarge(
                f"the archive holds {size // 2**20} MiB, at most {self.limits.upload_bytes // 2**20} are taken;"
                " see [api] max_upload_mb"
            )

    def _take_entry(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        problem = self._problem(info)
        if problem:
            self.refuse(info.filename, problem)
            return
        try:
            with archive.open(info) as stream:
                head = stream.read(132)
                body = head + stream.read() if head[128:] == b"DICM" else b""
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError, ValueError):
            self.refuse(info.filename, "it is damaged: the archive does not unpack it")
            return
        if body:
            self.take(info.filename, body)
        else:
            self.refuse(info.filename, "no DICOM Part 10 file")

    def _problem(self, info: zipfile.ZipInfo) -> str:
        if info.flag_bits & 0x1:
            return "it is encrypted; unpack the archive and send the files"
        if stat.S_ISLNK(info.external_attr >> 16):
            return "it is a link"
        if info.compress_type not in _METHODS:
            return "it is packed by a method other than deflate"
        if info.file_size > self.limits.instance_bytes:
            return f"it has {info.file_size // 2**20} MiB, at most {self.limits.instance_bytes // 2**20} are taken"
        if PurePosixPath(info.filename).name.upper() == "DICOMDIR":
            return "a DICOMDIR is a list of files, not an image"
        return ""

    def _received(self, instance: Part10) -> ReceivedInstance:
        return ReceivedInstance(
            dataset=instance.dataset,
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            provenance=Provenance(
                entrance="upload",
                peer=PEER,
                address=self.uploader.address,
                calling_ae_title=self.uploader.reader,
                called_ae_title="",
                association_id=self._id,
                received_at=datetime.now(UTC),
                priority=_PRIORITY,
            ),
        )


def leads_out(name: str) -> bool:
    """Whether a name in an archive would, as a path, end somewhere else than below the folder it is unpacked to."""
    parts = re.split(r"[/\\]", name)
    return ".." in parts or name.startswith(("/", "\\")) or _DRIVE.match(name) is not None or "\0" in name


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """Raises: ``UploadRefused``."""
    if _directory_bytes(file) > _MAX_DIRECTORY_BYTES:
        raise UploadRefused("the archive's list of names is larger than any study's")
    try:
        archive = zipfile.ZipFile(file)
    except Exception as exc:  # zipfile raises whatever the damage leads to; the sender is told, nothing is kept
        raise UploadRefused("not a zip archive, or a damaged one") from exc
    with archive:
        yield archive


def _directory_bytes(file: IO[bytes]) -> int:
    """Size of the archive's directory, as its end says; zipfile would read it all, however large."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 2**16 - 128))
    tail = file.read()
    file.seek(0)
    at, at_64 = tail.rfind(_END), tail.rfind(_END_64)
    if 0 <= at_64 <= len(tail) - 56:
        return int(struct.unpack_from("<Q", tail, at_64 + 40)[0])
    return int(struct.unpack_from("<L", tail, at + 12)[0]) if 0 <= at <= len(tail) - 16 else 0


def _check(instance: Part10) -> None:
    """Raises: ``NotDicom`` for what C-STORE would not have negotiated."""
    if instance.sop_class_uid not in storage_sop_classes():
        raise NotDicom(f"SOP class {instance.sop_class_uid} is no storage class")
    if instance.transfer_syntax_uid not in transfer_syntaxes():
        raise NotDicom(f"transfer syntax {instance.transfer_syntax_uid} is not known")
