"""Storage commitment reports, and requests for them, between the process that hears them and the one that may write the
database.

The listener answers the peer only after what it said is a file on disk; the coordinator reads the files and deletes
each one after what it says is committed. File names are ours.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wetread.dimse.commitment import CommitmentReport, CommitmentRequest
from wetread.durable import make_folder, write_atomically

logger = logging.getLogger(__name__)

REPORTS = "commitments"
REQUESTS = "commitment-requests"
"""Folders of the data folder."""


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report on disk."""

    path: Path
    peer: str
    """Name of the peer that sent it."""
    report: CommitmentReport


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request on disk."""

    path: Path
    peer: str
    """Name of the peer that asks."""
    request: CommitmentRequest


def keep_report(folder: Path, peer: str, report: CommitmentReport) -> Path:
    """Write one report; when this returns, a power cut does not lose it. Raises: ``OSError``."""
    return _keep(folder, peer, dataclasses.asdict(report))


def keep_request(folder: Path, peer: str, request: CommitmentRequest) -> Path:
    """Write one request, as durably. Raises: ``OSError``."""
    return _keep(folder, peer, dataclasses.asdict(request))


def kept_reports(folder: Path) -> Iterator[KeptReport]:
    """The reports on disk, oldest first; a file that is none is deleted and the log says so."""
    for path, fields in _kept(folder):
        try:
            failed = tuple((str(uid), int(reason)) for uid, reason in fields["failed"])
            report = CommitmentReport(str(fields["transaction_uid"]), tuple(map(str, fields["committed"])), failed)
            yield KeptReport(path, str(fields["peer"]), report)
        except (ValueError, KeyError, TypeError):
            _discard(path)


def kept_requests(folder: Path) -> Iterator[KeptRequest]:
    """The requests on disk, oldest first; a file that is none is deleted and the log says so."""
    for path, fields in _kept(folder):
        try:
            instances = tuple((str(sop_class), str(uid)) for sop_class, uid in fields["instances"])
            request = CommitmentRequest(str(fields["transaction_uid"]), instances)
            yield KeptRequest(path, str(fields["peer"]), request)
        except (ValueError, KeyError, TypeError):
            _discard(path)


def _keep(folder: Path, peer: str, said: Mapping[str, object]) -> Path:
    make_folder(folder)
    path = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}.json"
    write_atomically(path, lambda part: part.write_bytes(json.dumps({"peer": peer, **said}).encode()))
    return path


def _kept(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*.json")):
        try:
            yield path, dict(json.loads(path.read_bytes()))
        except (ValueError, TypeError):
            _discard(path)


def _discard(path: Path) -> None:
    # Ours are written whole, so this is somebody else's file.
    logger.error("%s is not about storage commitment; it is deleted", path.name)
    path.unlink(missing_ok=True)
