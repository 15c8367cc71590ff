"""Duty: storage commitment, both ways: what peers report about our results, and what they ask us to vouch for."""

from __future__ import annotations

from functools import partial

from wetread.config import Config, PeerSettings
from wetread.db import Database
from wetread.deliver.commitments import apply_report
from wetread.deliver.dicom import DicomCommitment
from wetread.deliver.outbox import Outbox
from wetread.deliver.pace import Pace
from wetread.deliver.reports import REPORTS, REQUESTS, KeptReport, kept_reports, kept_requests
from wetread.deliver.vouching import Client, Vouching
from wetread.dimse.commitment import send_report


class Commitments:
    """What the listeners heard about storage commitment, and a thread that answers requests for it."""

    def __init__(self, config: Config, db: Database) -> None:
        self._config = config
        self._db = db
        self._vouching = Vouching(db, Pace(config.delivery), _clients(config))

    def recover(self) -> None:
        """Start the thread: what was not answered is due."""
        self._vouching.start()

    def round(self) -> None:
        """Apply the reports and take in the requests that the listeners kept."""
        for report in kept_reports(self._config.data_dir / REPORTS):
            if not self._apply(report):
                self._ignore(report)
            report.path.unlink(missing_ok=True)  # only now: what was not applied is applied in the next round
        for asked in kept_requests(self._config.data_dir / REQUESTS):
            self._vouching.take(asked.peer, asked.request)
            asked.path.unlink(missing_ok=True)  # taken twice after a crash, it is the same request again

    def close(self) -> None:
        """Finish the association under way."""
        self._vouching.stop()

    def _apply(self, kept: KeptReport) -> bool:
        """A peer is believed about its own destinations, and as the archive of those that ask us."""
        outboxes = self._outboxes_of(kept.peer)
        return apply_report(self._db, kept.report, outboxes=outboxes) or self._vouching.apply(kept.peer, kept.report)

    def _outboxes_of(self, peer: str) -> dict[str, Outbox]:
        pace = Pace(self._config.delivery)
        return {
            d.name: Outbox(d.name, self._db, pace)
            for d in self._config.destinations
            if d.kind == "dicom" and d.peer == peer
        }

    def _ignore(self, kept: KeptReport) -> None:
        with self._db.transaction() as tx:
            tx.event("commitment_ignored", f"peer {kept.peer} reported about a request that is not open")


def _clients(config: Config) -> dict[str, Client]:
    peers = {p.name: p for p in config.peers}
    return {p.name: _client(config, p, peers[p.commitment_through]) for p in config.peers if p.commitment_through}


def _client(config: Config, peer: PeerSettings, archive: PeerSettings) -> Client:
    tell = partial(send_report, config.remote_of(peer))
    return Client(archive.name, DicomCommitment(config.remote_of(archive)), tell)
