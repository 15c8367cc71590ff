"""The coordinator's rounds: every duty in turn, and a pause that grows while there is trouble that passes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from wetread.errors import Temporary
from wetread.service.duties.duty import Duty

logger = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0


class Rounds:
    """A full disk stops nothing for good: what could not be written is still due at the next round."""

    def __init__(self, duties: Sequence[Duty], wait: Callable[[float], object]) -> None:
        """``wait`` takes seconds, and ends early when the service is to stop."""
        self._duties = duties
        self._wait = wait
        self._wait_s = FIRST_WAIT_S

    def go(self) -> None:
        """One round of all duties, or up to the first trouble; then a pause, twice the last one until all is well."""
        try:
            for duty in self._duties:
                duty.round()
        except Temporary as exc:
            logger.error("the coordinator waits: %s", exc)
            self._wait(self._wait_s)
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        else:
            self._wait_s = FIRST_WAIT_S
