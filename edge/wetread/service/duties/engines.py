"""Duty: engines, graphs and certificates that nothing here can use any more are removed, once a day."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from wetread.config import Config
from wetread.errors import Misconfigured
from wetread.infer.cleaning import Cleaned
from wetread.service.engine_cleaning import clean_of_service, in_words

logger = logging.getLogger(__name__)

_FIRST_S = 600.0
"""After the start: workers open what they use first."""
_EVERY_S = 86400.0


class EngineCleaning:
    """The engine cache kept to what is of use. Works in a thread: digests of bundles take longer than a round may."""

    def __init__(
        self,
        config: Config,
        *,
        clean: Callable[[Config], Cleaned] = clean_of_service,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._clean, self._clock = config, clean, clock
        self._due = clock() + _FIRST_S
        self._thread: threading.Thread | None = None

    def recover(self) -> None:
        """Nothing: what an interrupted cleaning left is found by the next one."""

    def round(self) -> None:
        """Begin a cleaning when it is time for one."""
        if not self._config.retention.engines_days or self._clock() < self._due:
            return
        self._due = self._clock() + _EVERY_S
        self._thread = threading.Thread(target=self._once, name="engine cache", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Not waited for: it may end at any step."""

    def _once(self) -> None:
        try:
            done = self._clean(self._config)
        except Misconfigured as exc:
            logger.warning("%s", exc)
            return
        if done.removed:
            logger.info("%s removed from the engine cache", in_words(done.removed))
        for piece, reason in done.failed:
            logger.warning("%s cannot be removed from the engine cache: %s", piece.path, reason)
