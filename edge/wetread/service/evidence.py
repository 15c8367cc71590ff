"""Who can say that a study is complete, from the configuration."""

from __future__ import annotations

from wetread.config import Config
from wetread.dimse.query import StudyCount, count_study
from wetread.dimse.scu import Remote
from wetread.receive.upload import PEER
from wetread.store.receiving import EvidenceSources

_TIMEOUT_S = 5.0
"""A count that takes longer is worth less than the quiet time."""


def evidence_sources(config: Config) -> EvidenceSources:
    """Peers that finish with a release, and peers that are asked for counts by C-FIND."""
    calling = config.listener.called[0].ae_title
    remotes = {
        p.name: Remote(p.host, p.port, p.ae_title, calling, timeout_s=_TIMEOUT_S)
        for p in config.peers
        if p.query and p.may_send and p.host and p.port
    }

    def ask(peer: str, study_instance_uid: str) -> StudyCount | None:
        return count_study(remotes[peer], study_instance_uid)

    releasing = frozenset(p.name for p in config.peers if p.complete_on_release) | {PEER}
    authorities = frozenset(p.name for p in config.peers if p.authority)
    return EvidenceSources(releasing=releasing, authorities=authorities, counting=frozenset(remotes), ask=ask)
