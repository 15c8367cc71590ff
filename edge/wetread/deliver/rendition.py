"""Which rendition a destination gets: set by the site, or asked once before the first object, and kept from then on.

Until it was asked, the outbox of a DICOM peer holds the common rendition and sends nothing of it. The answer and the
exchange of what waits are one transaction, so an object of the other rendition is never beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from wetread.db import Database, Queries, Row, Transaction, now
from wetread.deliver.destination import DestinationSettings, Negotiator
from wetread.records.result import Rendition

logger = logging.getLogger(__name__)

LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"

_MODERN = frozenset({LABEL_MAP_SEGMENTATION, COMPREHENSIVE_3D_SR, SEGMENTATION})
"""All it may hold: structures that overlap are a BINARY segmentation there, too."""
_PROPOSED = _MODERN | {COMPREHENSIVE_SR}

_BY_KIND = {"folder": Rendition.MODERN, "dicomweb": Rendition.COMMON}
"""Of ``auto``, where nothing is negotiated: files are for current tools; STOW-RS says too late what it refuses."""


def fixed_rendition(settings: DestinationSettings) -> Rendition | None:
    """What the settings say; None when the peer is to be asked."""
    if settings.rendition != "auto":
        return Rendition(settings.rendition)
    return _BY_KIND.get(settings.kind)


def note_settings(db: Database, destinations: Iterable[DestinationSettings]) -> None:
    """Keep what the settings say of each destination, for the jobs that encode; what was negotiated stays.

    A setting goes before an answer. Where one was taken back to ``auto``, the peer is asked before the next object.
    """
    queries = Queries("wetread.deliver")
    with db.transaction() as tx:
        for settings in destinations:
            rendition = fixed_rendition(settings)
            fields = {"destination": settings.name, "rendition": rendition.value if rendition else "", "now": now()}
            tx.run(queries["set_rendition" if rendition else "rendition_to_ask"], fields)


class Negotiation:
    """One destination's rendition."""

    def __init__(self, destination: str, negotiator: Negotiator | None, db: Database) -> None:
        self._destination = destination
        self._negotiator = negotiator
        self._db = db
        self._queries = Queries("wetread.deliver")

    def settle(self) -> bool:
        """Ask the peer if that is still to be done; whether what is due may be another object now.

        A peer that accepts none of the classes has not decided anything: it gets, and refuses, the common ones.
        Raises: ``DestinationUnavailable``.
        """
        if self._negotiator is None or not self._is_open(self._db.fetch(self._queries["rendition"], self._key)):
            return False
        accepted = self._negotiator.accepted(_PROPOSED)
        if not accepted:
            return False
        self._decide(Rendition.MODERN if accepted >= _MODERN else Rendition.COMMON, accepted)
        return True

    def is_wanted_soon(self) -> bool:
        """Whether the peer is still to be asked and a study comes in: what is known by its read need not be encoded
        twice."""
        return self._negotiator is not None and bool(self._db.fetch(self._queries["rendition_wanted_soon"], self._key))

    @property
    def _key(self) -> dict[str, str]:
        return {"destination": self._destination}

    def _is_open(self, rows: Sequence[Row]) -> bool:
        return bool(rows) and not rows[0]["rendition"]

    def _decide(self, rendition: Rendition, accepted: frozenset[str]) -> None:
        fields = {**self._key, "rendition": rendition.value, "now": now()}
        with self._db.transaction() as tx:
            if not tx.run(self._queries["negotiated"], fields):
                return
            if rendition is Rendition.MODERN:
                self._exchange(tx)
            refused = ", ".join(sorted(_MODERN - accepted))
            why = f"it does not accept {refused}" if refused else "it accepts label maps and 3D SR"
            tx.event("negotiated", f"{self._destination} gets the {rendition.value} rendition: {why}")
        logger.info("destination %s gets the %s rendition: %s", self._destination, rendition.value, why)

    def _exchange(self, tx: Transaction) -> None:
        """Put the modern objects in the places of the common ones of each read of which nothing was sent."""
        for job in tx.fetch(self._queries["jobs_not_begun"], self._key):
            twins = tx.fetch(self._queries["twins_of_waiting"], {**self._key, **dict(job)})
            if any(row["sop_instance_uid"] is None for row in twins):
                continue  # read when only one rendition was wanted
            for row in twins:
                tx.run(self._queries["exchange"], {"id": row["id"], "sop_instance_uid": row["sop_instance_uid"]})
