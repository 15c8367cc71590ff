"""Destinations: where results go. Adding a kind is one file and one line in ``KINDS``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

from wetread.dimse.commitment import CommitmentReport
from wetread.dimse.scu import Remote
from wetread.records.study import Patient

KINDS = {
    "dicom": "wetread.deliver.dicom",
    "dicomweb": "wetread.deliver.dicomweb",
    "folder": "wetread.deliver.folder",
}


@dataclass(frozen=True, slots=True)
class DestinationSettings:
    """``[[destinations]]``: one place results are sent to."""

    name: str
    """Routes name it."""
    kind: Literal["dicom", "dicomweb", "folder"]
    """``dicom``: C-STORE to a peer; ``dicomweb``: STOW-RS; ``folder``: files in a folder of this machine."""
    peer: str = ""
    """For ``dicom``: name of one of ``[[peers]]`` with host and port."""
    path: str = ""
    """For ``folder``: where the files go; made if missing."""
    url: str = ""
    """For ``dicomweb``: base of the archive's DICOMweb services; ``/studies`` is appended."""
    token_file: str = ""
    """For ``dicomweb``: file with a bearer token; read at every use, so that it can be renewed."""
    ca_file: str = ""
    """For ``dicomweb``: certificates (PEM) that vouch for the archive, if not those of this machine."""
    query: bool = False
    """For ``dicomweb``: whether it answers QIDO-RS; for ``dicom``, the peer's ``query`` says it."""
    verify: Literal["auto", "commitment", "query", "status"] = "auto"
    """How arrival is verified. ``auto``: storage commitment if the peer does it, else a query, else its status."""
    rendition: Literal["auto", "modern", "common"] = "auto"
    """``modern``: label map segmentation and Comprehensive 3D SR; ``common``: BINARY segmentation and Comprehensive SR.
    ``auto``: a DICOM peer is asked once, before its first object; ``dicomweb`` gets common, ``folder`` modern."""
    unknown_study: Literal["send", "hold"] = "send"
    """What to do when a destination that can be asked does not have the study."""


class Outcome(StrEnum):
    """What became of one object."""

    TAKEN = "taken"
    REFUSED = "refused"
    """For what it is; others may go on without it."""
    FAILED = "failed"
    """Not now; what comes after it in its study waits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a destination said about one object."""

    outcome: Outcome
    error: str = ""
    warning: str = ""
    """Said by a destination that took it all the same."""
    comment: str = ""
    """In the destination's own words: kept with the object and shown, but never in the timeline or a log."""

    @property
    def accepted(self) -> bool:
        """The destination has it, as far as it says."""
        return self.outcome is Outcome.TAKEN


@dataclass(frozen=True, slots=True)
class StudyIdentity:
    """Whose study it is; empty strings where nothing is said."""

    patient: Patient
    accession_number: str = ""


class Archive(Protocol):
    """A destination that can be asked what it has. Raises ``DestinationUnavailable`` when it does not answer."""

    def study(self, study_instance_uid: str) -> tuple[StudyIdentity, ...]:
        """What it says about the study: nothing if it does not have it, several if it has it several times."""
        ...

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> frozenset[str]:
        """The SOP Instance UIDs it has of one series."""
        ...


class Commitment(Protocol):
    """A destination that takes responsibility on request (PS3.4 Annex J)."""

    def ask(self, transaction_uid: str, instances: Sequence[tuple[str, str]]) -> CommitmentReport | None:
        """Request it for ``(SOP class, SOP instance)`` pairs; None when the report comes later.

        Raises: ``DestinationUnavailable``.
        """
        ...


class Negotiator(Protocol):
    """A destination that says beforehand what it takes."""

    def accepted(self, sop_class_uids: frozenset[str]) -> frozenset[str]:
        """Those of these SOP classes that it accepts. Raises: ``DestinationUnavailable``."""
        ...


class Destination(Protocol):
    """Takes result objects.

    1. ``deliver`` gives one answer for each path, in order; a taken object is durable at the destination as far as the
       destination says.
    2. After an object that failed, none is taken in the same call: reports refer to segmentations before them. One that
       was refused stops nothing.
    3. It raises ``DestinationUnavailable`` when nothing could be tried.
    4. Delivering the same object again is harmless.
    """

    archive: Archive | None
    """Whom to ask about patients and about arrival."""
    commitment: Commitment | None
    """Whom to ask for storage commitment."""
    negotiator: Negotiator | None
    """Whom to ask which SOP classes it takes."""
    proof: Literal["status", "digest"]
    """What an answer alone proves."""

    def deliver(self, paths: Sequence[Path]) -> list[Answer]:
        """Send these Part 10 files, in this order."""
        ...


@dataclass(frozen=True, slots=True)
class PeerAbilities:
    """What the configuration says the peer behind a destination can do."""

    query: bool = False
    commitment: bool = False


_NOTHING_ELSE = PeerAbilities()


def open_destination(
    settings: DestinationSettings, remote: Remote | None, abilities: PeerAbilities = _NOTHING_ELSE
) -> Destination:
    """The destination of these settings; ``remote`` and ``abilities`` are its peer's, for kinds that have one."""
    module = import_module(KINDS[settings.kind])
    opener = cast("Callable[[DestinationSettings, Remote | None, PeerAbilities], Destination]", module.open_destination)
    return opener(settings, remote, abilities)
