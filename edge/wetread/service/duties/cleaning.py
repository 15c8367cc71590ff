"""Duty: what is finished and past its time is removed, one study in a round."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from wetread.store.retention import Retention

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 60.0


class Cleaning:
    """Retention at work."""

    def __init__(self, retention: Retention, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._retention = retention
        self._clock = clock
        self._look_at = clock()

    def recover(self) -> None:
        """Finish what a crash interrupted."""
        self._retention.recover()

    def round(self) -> None:
        """Remove what one study left, and look again at once; with nothing due, in a minute."""
        if self._clock() < self._look_at:
            return
        removed = self._retention.clean_one()
        if removed is None:
            self._retention.forget_events()
            self._look_at = self._clock() + _LOOK_EVERY_S
        else:
            logger.info("study %d: %d files removed (%s)", removed.study_id, removed.files, removed.kind)

    def close(self) -> None:
        """Nothing: ``recover`` finds what was begun."""
