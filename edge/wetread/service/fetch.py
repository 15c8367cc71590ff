"""``wetread studies fetch``: have an archive send us a study, or the one before it of the same patient."""

from __future__ import annotations

from dataclasses import dataclass

from wetread.config import Config, PeerSettings
from wetread.dimse.query import StudyFound, find_series, find_studies, find_studies_of
from wetread.dimse.retrieve import Retrieved, get_study, move_study
from wetread.errors import DestinationUnavailable, Misconfigured, ServiceNotOffered
from wetread.records.same_patient import patient_differences
from wetread.store.spool import Spool


@dataclass(frozen=True, slots=True)
class Fetched:
    """One study that an archive sent us."""

    study_instance_uid: str
    peer: str
    retrieved: Retrieved


def fetch(config: Config, study_instance_uid: str, *, peer_name: str = "", prior: bool = False) -> Fetched:
    """Find the study at a peer and have it sent here.

    Raises: ``Misconfigured`` when no peer can be asked or none has it; ``DestinationUnavailable`` when it does not
    come.
    """
    peer, found = _find(config, study_instance_uid, _peers(config, peer_name))
    if prior:
        found = _prior(config, peer, found)
    return Fetched(found.study_instance_uid, peer.name, _retrieve(config, peer, found.study_instance_uid))


def _peers(config: Config, name: str) -> list[PeerSettings]:
    named = [p for p in config.peers if p.name == name]
    if name and not named:
        raise Misconfigured(
            f"no peer is called {name!r}; known: {', '.join(p.name for p in config.peers) or 'none, see [[peers]]'}"
        )
    able = [p for p in named or config.peers if p.query and p.host and p.port]
    if not able:
        who = f"peer {name!r} lacks query = true, host or port" if name else "no peer has query = true, host and port"
        raise Misconfigured(f"{who}: nobody to ask")
    return able


def _find(config: Config, study_instance_uid: str, peers: list[PeerSettings]) -> tuple[PeerSettings, StudyFound]:
    """The first peer that has it. One that cannot be asked is named only if no other has it."""
    silent: list[str] = []
    for peer in peers:
        try:
            found = find_studies(config.remote_of(peer), study_instance_uid)
        except DestinationUnavailable as exc:
            silent.append(str(exc))
            continue
        if len(found) > 1:
            raise Misconfigured(f"{peer.name} has {len(found)} studies with that UID: that is for its administrator")
        if found:
            return peer, found[0]
    if silent:
        raise DestinationUnavailable(f"the study was not found, and not everybody could be asked: {'; '.join(silent)}")
    raise Misconfigured(f"none of {', '.join(p.name for p in peers)} has study {study_instance_uid}")


def _prior(config: Config, peer: PeerSettings, of: StudyFound) -> StudyFound:
    """The latest earlier study of the same patient (ID and issuer, never the name alone) with a modality in common."""
    if not of.patient.patient_id or not of.date:
        raise Misconfigured(f"{peer.name} gives no patient ID or no date for the study: there is no prior to look for")
    remote = config.remote_of(peer)
    modalities = _modalities(config, peer, of)
    for study in reversed(find_studies_of(remote, of.patient)):
        earlier = bool(study.date) and study.date < of.date
        # One that says nothing of its issuer may be anybody with that number: here silence is a difference.
        same_issuer = study.patient.issuer == of.patient.issuer
        if not earlier or not same_issuer or patient_differences(of.patient, study.patient):
            continue
        if modalities & _modalities(config, peer, study):
            return study
    raise Misconfigured(f"{peer.name} has no earlier study of the patient with a modality in common")


def _modalities(config: Config, peer: PeerSettings, study: StudyFound) -> frozenset[str]:
    series = find_series(config.remote_of(peer), study.study_instance_uid)
    return frozenset(s.modality for s in series if s.modality) - _OF_RESULTS


_OF_RESULTS = frozenset({"SR", "SEG", "PR", "KO", "OT", "DOC"})


def _retrieve(config: Config, peer: PeerSettings, study_instance_uid: str) -> Retrieved:
    """C-MOVE to our listener; C-GET where the peer offers only that."""
    remote = config.remote_of(peer)
    if not peer.may_send:
        raise Misconfigured(f"peer {peer.name!r} may not send (may_send), so what it is asked for would be refused")
    try:
        return move_study(remote, study_instance_uid)
    except ServiceNotOffered:
        spool = Spool(config.data_dir / "spool", reserve_bytes=config.spool.reserve_mb * 2**20)
        return get_study(remote, study_instance_uid, spool.keep, peer=peer.name)
