"""The coordinator's rounds when there is trouble."""

from __future__ import annotations

from wetread.errors import SpoolUnavailable
from wetread.service.rounds import Rounds


class Troubled:
    """A duty that fails in these rounds."""

    def __init__(self, *fails: bool) -> None:
        self.fails = list(fails)

    def recover(self) -> None:
        """Nothing."""

    def round(self) -> None:
        if self.fails.pop(0):
            raise SpoolUnavailable("the disk is full")

    def close(self) -> None:
        """Nothing."""


def test_pause_after_trouble_is_short_at_first_grows_to_5_s_and_begins_again_after_a_good_round() -> None:
    fails = [True] * 7 + [False] + [True] * 2
    waits: list[float] = []
    rounds = Rounds((Troubled(*fails),), waits.append)
    for _ in fails:
        rounds.go()
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.2, 0.4]


def test_trouble_of_one_duty_ends_the_round() -> None:
    second = Troubled(False)
    Rounds((Troubled(True), second), lambda _seconds: None).go()
    assert second.fails == [False], "its only round is left: it was not asked"
