"""A PACS: C-STORE, and C-FIND and storage commitment where its peer entry says it can."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from wetread.deliver.destination import Answer, DestinationSettings, Outcome, PeerAbilities, StudyIdentity
from wetread.dimse.commitment import CommitmentReport, ask_commitment
from wetread.dimse.query import find_instances, find_studies
from wetread.dimse.scu import Remote, SendReport, accepted_classes, send_files
from wetread.errors import Misconfigured

_REPORT_WAIT_S = 1.0  # for peers that report on the same association; the others are heard by the listener


class DicomArchive:
    """C-FIND."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def study(self, study_instance_uid: str) -> tuple[StudyIdentity, ...]:
        """See ``Archive``."""
        found = find_studies(self._remote, study_instance_uid)
        return tuple(StudyIdentity(study.patient, study.accession_number) for study in found)

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> frozenset[str]:
        """See ``Archive``."""
        return find_instances(self._remote, study_instance_uid, series_instance_uid)


class DicomCommitment:
    """N-ACTION."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def ask(self, transaction_uid: str, instances: Sequence[tuple[str, str]]) -> CommitmentReport | None:
        """See ``Commitment``."""
        return ask_commitment(self._remote, transaction_uid, instances, wait_s=_REPORT_WAIT_S)


class DicomNegotiator:
    """What an association accepts."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def accepted(self, sop_class_uids: frozenset[str]) -> frozenset[str]:
        """See ``Negotiator``."""
        return accepted_classes(self._remote, sop_class_uids)


class DicomDestination:
    """One peer with a storage SCP."""

    proof: Literal["status", "digest"] = "status"

    def __init__(self, remote: Remote, abilities: PeerAbilities) -> None:
        self._remote = remote
        self.negotiator = DicomNegotiator(remote)
        self.archive = DicomArchive(remote) if abilities.query else None
        self.commitment = DicomCommitment(remote) if abilities.commitment else None

    def deliver(self, paths: Sequence[Path]) -> list[Answer]:
        """C-STORE in one association. Raises: ``DestinationUnavailable`` when there is none."""
        return [_answer(report) for report in send_files(self._remote, paths, in_order=True)]


def _answer(report: SendReport) -> Answer:
    if report.accepted:
        return Answer(Outcome.TAKEN, warning=report.warning, comment=report.comment)
    outcome = Outcome.REFUSED if report.refused else Outcome.FAILED
    return Answer(outcome, report.answer, comment=report.comment)


def open_destination(
    settings: DestinationSettings, remote: Remote | None, abilities: PeerAbilities
) -> DicomDestination:
    """See ``destination.open_destination``."""
    if remote is None:
        raise Misconfigured(f"destination {settings.name!r} names peer {settings.peer!r}, which has no host and port")
    return DicomDestination(remote, abilities)
