"""Storage commitment reports between the process that hears them and the one that may write the database.

The listener answers the peer only after the report is a file on disk; the coordinator reads the files and deletes each
one after what it says is committed. File names are ours.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wetread.dimse.commitment import CommitmentReport
from wetread.durable import make_folder, write_atomically

logger = logging.getLogger(__name__)

REPORTS = "commitments"
"""Folder of the data folder."""


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report on disk."""

    path: Path
    peer: str
    """Name of the peer that sent it."""
    report: CommitmentReport


def keep_report(folder: Path, peer: str, report: CommitmentReport) -> Path:
    """Write one report; when this returns, a power cut does not lose it. Raises: ``OSError``."""
    make_folder(folder)
    fields = {
        "peer": peer,
        "transaction_uid": report.transaction_uid,
        "committed": report.committed,
        "failed": report.failed,
    }
    path = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}.json"
    write_atomically(path, lambda part: part.write_bytes(json.dumps(fields).encode()))
    return path


def kept_reports(folder: Path) -> Iterator[KeptReport]:
    """The reports on disk, oldest first; a file that is none is deleted and the log says so."""
    for path in sorted(folder.glob("*.json")):
        try:
            fields = json.loads(path.read_bytes())
            failed = tuple((str(uid), int(reason)) for uid, reason in fields["failed"])
            report = CommitmentReport(str(fields["transaction_uid"]), tuple(map(str, fields["committed"])), failed)
            yield KeptReport(path, str(fields["peer"]), report)
        except (ValueError, KeyError, TypeError):
            # Ours are written whole, so this is somebody else's file.
            logger.error("%s is not a storage commitment report; it is deleted", path.name)
            path.unlink(missing_ok=True)
