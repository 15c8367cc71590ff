"""Wait for something to become true, with a deadline; never for a fixed time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], *, timeout_s: float = 60.0, what: str = "") -> T:
    """The first true value ``condition`` gives. Fails the test after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    tick = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what or condition}; last value {value!r}")
        tick.wait(0.05)
