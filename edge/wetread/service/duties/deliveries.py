"""Duty: each destination has a thread that empties its outbox; here they are started and ended."""

from __future__ import annotations

from collections.abc import Sequence

from wetread.deliver.outbox import Delivery


class Deliveries:
    """The threads of all destinations."""

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self._deliveries = tuple(deliveries)
        self._started: list[Delivery] = []

    def recover(self) -> None:
        """Start the threads: what was pending is due."""
        for delivery in self._deliveries:
            delivery.start()
            self._started.append(delivery)

    def round(self) -> None:
        """Nothing: the threads look for themselves."""

    def close(self) -> None:
        """Finish the associations under way, then end."""
        while self._started:
            self._started.pop().stop()
