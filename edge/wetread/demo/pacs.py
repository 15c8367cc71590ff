"""A small PACS on this machine: takes everything, keeps it in a folder, says when something came."""

from __future__ import annotations

import threading
from collections.abc import Set
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from wetread.dimse.scp import Callbacks, Limits, StorageScp
from wetread.records.received import ReceivedInstance

AE_TITLE = "DEMOPACS"
HOST = "127.0.0.1"
_IMPLEMENTATION_CLASS_UID = UID("2.25.190403741064427903458216912236982840002")


class DemoPacs:
    """Storage on loopback: whoever calls is admitted, and nothing leaves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._arrived: dict[str, Path] = {}
        self._news = threading.Condition()
        limits = Limits(max_associations=10, network_timeout_s=60.0, max_pdu_bytes=131072)
        callbacks = Callbacks(
            admit=lambda caller: caller.calling_ae_title,
            keep=self._keep,
            refused=lambda _caller, _why, _hint: None,
            ended=lambda _end: None,
            reported=lambda _peer, _report: None,
        )
        self._scp = StorageScp(callbacks, limits)

    def start(self) -> None:
        """Listen on a free port. Raises: ``Misconfigured``."""
        self.folder.mkdir(parents=True)
        self.port = self._scp.start(HOST, 0)

    def stop(self) -> None:
        """Stop listening; the files stay."""
        self._scp.stop()

    def wait_for(self, sop_instance_uids: Set[str], timeout_s: float) -> dict[str, Path]:
        """Those of the instances that are here, at the latest after ``timeout_s``: all of them, or fewer."""
        with self._news:
            self._news.wait_for(lambda: sop_instance_uids <= self._arrived.keys(), timeout_s)
            return {uid: self._arrived[uid] for uid in sop_instance_uids & self._arrived.keys()}

    def _keep(self, received: ReceivedInstance) -> None:
        with self._news:
            known = self._arrived.get(received.sop_instance_uid)
            path = known or self.folder / f"{len(self._arrived) + 1:05d}.dcm"
            _write(received, path)
            self._arrived[received.sop_instance_uid] = path
            self._news.notify_all()


def _write(received: ReceivedInstance, path: Path) -> None:
    """Part 10: the data set bit for bit as it came, behind File Meta Information (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(received.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(received.sop_instance_uid)
    meta.TransferSyntaxUID = UID(received.transfer_syntax_uid)
    meta.ImplementationClassUID = _IMPLEMENTATION_CLASS_UID
    with path.open("wb") as stream:
        stream.write(b"\0" * 128 + b"DICM")
        write_file_meta_info(stream, meta, enforce_standard=True)
        stream.write(received.dataset)
