"""Duty: each destination has a thread that empties its outbox; here they are started and ended."""

from __future__ import annotations

from wetread.config import Config
from wetread.db import Database
from wetread.deliver.delivery import Delivery, DeliveryPolicy
from wetread.deliver.destination import Archive, DestinationSettings, open_destination
from wetread.deliver.pace import Clock, Pace
from wetread.deliver.rendition import note_settings
from wetread.deliver.witness import Silence, Witness


class Deliveries:
    """The threads of all destinations."""

    def __init__(self, config: Config, db: Database) -> None:
        self._config = config
        self._db = db
        self._silences = {d.name: Silence(Clock()) for d in config.destinations}
        self._deliveries = tuple(self._delivery(d) for d in config.destinations)
        self._started: list[Delivery] = []

    def recover(self) -> None:
        """Start the threads: what was pending is due."""
        note_settings(self._db, self._config.destinations)
        for delivery in self._deliveries:
            delivery.start()
            self._started.append(delivery)

    def round(self) -> None:
        """Nothing: the threads look after themselves."""

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
        return {name: Witness(a, self._silences[name]) for name, a in archives.items() if a is not None}
