"""The seam: a duty of the coordinator."""

from __future__ import annotations

from typing import Protocol


class Duty(Protocol):
    """One thing the coordinator does in every round.

    1. ``recover`` is called once, before the first round: it puts right what the last process left.
    2. ``round`` is called over and over by the coordinator's one thread. It takes at most about 0.1 s (waiting for the
       outside world belongs into a thread or process of its own) and leaves nothing half done: it may be the last one.
    3. ``Temporary`` from ``round`` ends this round of all duties; the same work must still be due in the next one.
    4. ``close`` is called once at the end, also after an error; it leaves everything so that ``recover`` finds it.
    """

    def recover(self) -> None:
        """Put right what the last process left."""
        ...

    def round(self) -> None:
        """Do what is due."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
