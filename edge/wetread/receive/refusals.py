"""Who was refused, for the administrator: noted at once the first time, and then counted.

A modality that does not know why it is refused tries again every few seconds; each try on disk would be more wear than
news.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from wetread.errors import SpoolUnavailable
from wetread.records.notes import Note, Refusal

logger = logging.getLogger(__name__)

INTERVAL_S = 10.0
"""Longest time a count stays in memory."""

_MAX_CALLERS = 500
"""Callers remembered; more are one caller of an unknown name, so that a port scan fills neither memory nor disk."""

_Key = tuple[str, str, str, str]


@dataclass(slots=True)
class _Counted:
    noted_at: float
    pending: Refusal | None = None


class Refusals:
    """Counts refusals for each caller (calling title, called title, address) and reason."""

    def __init__(self, note: Callable[[Note], object], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._note = note
        self._clock = clock
        self._callers: dict[_Key, _Counted] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def add(self, calling: str, called: str, address: str, *, reason: str, hint: str) -> None:
        """One more refusal."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            key = (_printable(calling), _printable(called), address, reason)
            if key not in self._callers and len(self._callers) >= _MAX_CALLERS:
                self._forget_quiet()
                if len(self._callers) >= _MAX_CALLERS:
                    key, hint = ("", "", "various", "many different callers were refused"), ""
            fresh = Refusal(*key, hint, 1, at, at)
            known = self._callers.setdefault(key, _Counted(-INTERVAL_S))
            known.pending = fresh if known.pending is None else _sum(known.pending, fresh)
            self._write_due()
            self._set_timer()

    def flush(self) -> None:
        """Note everything that was counted; at the end."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._write_due(everything=True)

    def _write_due(self, *, everything: bool = False) -> None:
        now = self._clock()
        for known in self._callers.values():
            if known.pending is not None and (everything or now - known.noted_at >= INTERVAL_S):
                self._write(known.pending)
                known.noted_at, known.pending = now, None

    def _write(self, refusal: Refusal) -> None:
        try:
            self._note(refusal)
        except SpoolUnavailable as exc:
            logger.error("a refused caller cannot be noted: %s", exc)

    def _set_timer(self) -> None:
        if self._timer is None and any(k.pending for k in self._callers.values()):
            self._timer = threading.Timer(INTERVAL_S, self._on_timer)
            self._timer.daemon = True
            self._timer.start()

    def _on_timer(self) -> None:
        with self._lock:
            self._timer = None
            self._write_due()
            self._set_timer()

    def _forget_quiet(self) -> None:
        now = self._clock()
        quiet = [key for key, k in self._callers.items() if k.pending is None and now - k.noted_at >= INTERVAL_S]
        for key in quiet:
            del self._callers[key]


def _sum(earlier: Refusal, later: Refusal) -> Refusal:
    return replace(later, count=earlier.count + later.count, first_at=earlier.first_at)


def _printable(title: str) -> str:
    """Strangers choose their titles; nothing in them may speak to the administrator's terminal."""
    return "".join(c if c.isprintable() else "?" for c in title)
