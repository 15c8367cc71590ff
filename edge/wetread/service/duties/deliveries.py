"""Duty: each destination has a thread that empties its outbox; here they are started and ended, and told what peers
report about storage commitment.
"""

from __future__ import annotations

from wetread.config import Config
from wetread.db import Database
from wetread.deliver.commitments import apply_report
from wetread.deliver.delivery import Delivery, DeliveryPolicy
from wetread.deliver.destination import Archive, DestinationSettings, open_destination
from wetread.deliver.outbox import Outbox
from wetread.deliver.pace import Pace
from wetread.deliver.rendition import note_settings
from wetread.deliver.reports import REPORTS, KeptReport, kept_reports


class Deliveries:
    """The threads of all destinations."""

    def __init__(self, config: Config, db: Database) -> None:
        self._config = config
        self._db = db
        self._deliveries = tuple(self._delivery(d) for d in config.destinations)
        self._started: list[Delivery] = []

    def recover(self) -> None:
        """Start the threads: what was pending is due."""
        note_settings(self._db, self._config.destinations)
        for delivery in self._deliveries:
            delivery.start()
            self._started.append(delivery)

    def round(self) -> None:
        """Apply the storage commitment reports that the listener kept. The threads look after the rest themselves."""
        for kept in kept_reports(self._config.data_dir / REPORTS):
            if not apply_report(self._db, kept.report, outboxes=self._outboxes_of(kept.peer)):
                self._ignore(kept)
            kept.path.unlink(missing_ok=True)  # only now: what was not applied is applied in the next round

    def close(self) -> None:
        """Finish the associations under way, then end."""
        while self._started:
            self._started.pop().stop()

    def _delivery(self, settings: DestinationSettings) -> Delivery:
        config = self._config
        return Delivery(
            settings.name,
            open_destination(settings, config.remote(settings), config.abilities(settings)),
            db=self._db,
            data_folder=config.data_dir,
            pace=Pace(config.delivery),
            policy=DeliveryPolicy(settings.verify, settings.unknown_study),
            witnesses=self._witnesses(besides=settings.name),
        )

    def _witnesses(self, *, besides: str) -> dict[str, Archive]:
        """The other destinations that know patients; each thread asks on connections of its own."""
        config = self._config
        archives = {
            d.name: open_destination(d, config.remote(d), config.abilities(d)).archive
            for d in config.destinations
            if d.name != besides
        }
        return {name: archive for name, archive in archives.items() if archive is not None}

    def _outboxes_of(self, peer: str) -> dict[str, Outbox]:
        """A peer is believed about its own destinations only."""
        pace = Pace(self._config.delivery)
        return {
            d.name: Outbox(d.name, self._db, pace)
            for d in self._config.destinations
            if d.kind == "dicom" and d.peer == peer
        }

    def _ignore(self, kept: KeptReport) -> None:
        with self._db.transaction() as tx:
            tx.event("commitment_ignored", f"peer {kept.peer} reported about a request that is not open")
