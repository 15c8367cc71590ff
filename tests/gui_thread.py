"""How long the thread of the GUI was away from its event loop, and what it did there.

Two figures of each turn of the loop. ``longest_ms``: CPU time of that thread, what its handlers cost.
``longest_wait_ms``: time on the wall less what this thread stood in the queue for a core (Linux counts that), and less
the time in which nobody here could go on because the thread that holds the interpreter stood in it: it sees a handler
that sleeps, waits for a lock, a file or the interpreter, and hardly how busy the machine is: for benchmarks.

Tests ask what the thread did itself that may take long: files it opened, connections it made.
"""

from __future__ import annotations

import faulthandler
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from qtpy.QtCore import QCoreApplication, QEventLoop, QTimer

_LONG_S = 0.04
"""From here on a turn is looked into."""
_LOOK_S = 0.01
_TASKS = Path("/proc/self/task")
WAITS = ("socket.connect", "socket.getaddrinfo")
SLOW = ("open", *WAITS)
"""Audit events (docs.python.org/3/library/audit_events.html) of what has no place on the GUI thread."""


@dataclass(repr=False)
class Blocked:
    """What was seen."""

    longest_ms: float = 0.0
    """CPU time of the GUI thread in one turn of its event loop."""
    longest_wait_ms: float = 0.0
    """Wall time of one turn, without the time in which there was no core for us."""
    longest_wall_ms: float = 0.0
    """With it."""
    where: list[str] = field(default_factory=list)
    """Stacks of all threads, looked at during the longest of these turns."""
    did: list[tuple[str, str]] = field(default_factory=list)
    """Audit events of ``SLOW`` on the GUI thread, with what they were about."""

    def did_itself(self, about: str, *events: str) -> list[tuple[str, str]]:
        """Which of these events (``SLOW`` if none is named) the GUI thread caused, about what begins so."""
        return [(event, what) for event, what in self.did if event in (events or SLOW) and what.startswith(about)]

    def __repr__(self) -> str:
        """For a test that fails."""
        said = (
            f"one turn of the GUI thread: {self.longest_ms:.0f} ms CPU, {self.longest_wait_ms:.0f} ms with its waits, "
            f"{self.longest_wall_ms:.0f} ms on the wall"
        )
        return "\n".join([said, *self.where])


class _Watch:
    """Notes each turn on the GUI thread; looks at stacks from a thread of its own."""

    def __init__(self, seen: Blocked) -> None:
        self._seen, self._gui = seen, threading.get_native_id()
        self._python_gui = threading.get_ident()
        self._began, self._cpu, self._queued = time.perf_counter(), time.thread_time(), _queued_s(self._gui)
        self._stacks: list[str] = []
        self._watcher = 0
        self._samples = deque([_Sample(self._began, self._queue_of_others(), 0.0, 0.0)], maxlen=1000)
        self._ended = threading.Event()
        self._paper = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed by end
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._thread.start()

    def turn(self) -> None:
        """The loop comes round."""
        now, cpu, queued = time.perf_counter(), time.thread_time(), _queued_s(self._gui)
        wall, stacks, seen = now - self._began, self._stacks, self._seen
        elsewhere = queued - self._queued + (self._stuck_s(self._began) if wall > _LONG_S else 0.0)
        cpu_ms, wait_ms = (cpu - self._cpu) * 1000, max(wall - elsewhere, cpu - self._cpu) * 1000
        if max(cpu_ms, wait_ms) > max(seen.longest_ms, seen.longest_wait_ms):
            seen.where = stacks
        seen.longest_ms, seen.longest_wait_ms = max(seen.longest_ms, cpu_ms), max(seen.longest_wait_ms, wait_ms)
        seen.longest_wall_ms = max(seen.longest_wall_ms, wall * 1000)
        self._began, self._cpu, self._queued, self._stacks = now, cpu, queued, []

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()
        self._paper.close()

    def _look(self) -> None:
        self._watcher = threading.get_native_id()
        while not self._ended.wait(_LOOK_S):
            self._samples.append(self._sample())
            if time.perf_counter() - self._began > _LONG_S and len(self._stacks) < 20:
                self._stacks.append(self._stacks_now(time.perf_counter() - self._began))

    def _stacks_now(self, after_s: float) -> str:
        """Without touching a frame: whoever holds one keeps what is painted in it from ending, and Qt crashes."""
        self._paper.seek(0)
        self._paper.truncate()
        faulthandler.dump_traceback(self._paper, all_threads=True)
        self._paper.seek(0)
        gui = f"{self._python_gui:#018x}"
        threads = [t for t in self._paper.read().split("\n\n") if "(most recent call first)" in t]
        lines = [line for t in threads for line in t.splitlines()[:7] if f'"{__file__}"' not in line]
        return "\n".join([f"after {after_s * 1000:.0f} ms (the GUI thread is {gui}):", *lines])

    def _sample(self) -> _Sample:
        """Where this watch comes late without having waited for a core itself, somebody holds the interpreter."""
        last, at = self._samples[-1], time.perf_counter()
        others, own = self._queue_of_others(), _queued_s(self._watcher)
        late_s = at - last.at - _LOOK_S - (own - last.own_queue_s)
        return _Sample(at, others, own, last.stuck_s + max(0.0, min(others - last.others_queue_s, late_s)))

    def _stuck_s(self, since: float) -> float:
        before = [s for s in tuple(self._samples) if s.at <= since]
        return self._sample().stuck_s - (before[-1] if before else self._samples[0]).stuck_s

    def _queue_of_others(self) -> float:
        threads = [int(p.name) for p in _TASKS.iterdir()] if _TASKS.exists() else []
        return sum(_queued_s(t) for t in threads if t not in (self._gui, self._watcher))


class _Sample(NamedTuple):
    """Seconds; the last three grow."""

    at: float
    others_queue_s: float
    own_queue_s: float
    stuck_s: float
    """Nobody could go on, because who held the interpreter had no core."""


_noting: list[tuple[int, Blocked]] = []
"""The GUI thread and its notes; an audit hook stays until the process ends, and does nothing while this is empty."""


def _audit(event: str, about: tuple[object, ...]) -> None:
    if _noting and event in SLOW:
        thread, seen = _noting[-1]
        if threading.get_ident() == thread:
            seen.did.append((event, str(about[1] if event == "socket.connect" else about[0])))


sys.addaudithook(_audit)


@contextmanager
def watched() -> Iterator[Blocked]:
    """Ask the loop for a turn all the time, and note how long it was away between two of them."""
    QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 5)
    seen = Blocked()
    watch = _Watch(seen)
    timer = QTimer()
    timer.setInterval(1)
    timer.timeout.connect(watch.turn)
    timer.start()
    _noting.append((threading.get_ident(), seen))
    try:
        yield seen
    finally:
        _noting.pop()
        timer.stop()
        watch.end()


def _queued_s(thread: int) -> float:
    """How long a thread was ready to run and had no core (second field of schedstat, sched_clock(9)); 0: not told."""
    try:
        return int((_TASKS / str(thread) / "schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
