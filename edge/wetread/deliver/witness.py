"""Archives that are asked whose study it is for the sake of other destinations, which wait for none that is away.

The archive's own results wait until it answers. A folder beside it does not: for a minute after an archive gave no
answer it is not asked again for others, so that they wait for one time-out a minute and not for one with each study.
What is sent without its word says so in the timeline.
"""

from __future__ import annotations

from wetread.deliver.destination import Archive, StudyIdentity
from wetread.deliver.pace import Clock
from wetread.errors import DestinationUnavailable

SILENCE_S = 60.0


class Silence:
    """That an archive gave no answer a moment ago: known to all threads that ask it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic()

    @property
    def lasts(self) -> bool:
        """Whether there is no point in asking now."""
        return self._clock.monotonic() < self._until

    def begin(self) -> None:
        """It gave no answer."""
        self._until = self._clock.monotonic() + SILENCE_S


class Witness:
    """One archive, asked by one thread for its own destination's sake."""

    def __init__(self, archive: Archive, silence: Silence) -> None:
        self._archive = archive
        self._silence = silence

    def study(self, study_instance_uid: str) -> tuple[StudyIdentity, ...]:
        """See ``Archive``; raises at once while the archive is silent."""
        if self._silence.lasts:
            raise DestinationUnavailable("it gave no answer a moment ago")
        try:
            return self._archive.study(study_instance_uid)
        except DestinationUnavailable:
            self._silence.begin()
            raise

    def instances(self, study_instance_uid: str, series_instance_uid: str) -> frozenset[str]:
        """See ``Archive``."""
        return self._archive.instances(study_instance_uid, series_instance_uid)
