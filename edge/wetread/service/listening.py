"""The listener processes: they keep instances in the spool and know neither database nor pixels.

The port is bound here, once, and shared: a process that dies leaves no gap, callers wait in the port's queue until
another one accepts them.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess

from wetread.config import Config
from wetread.dimse.server import listening_socket
from wetread.errors import Misconfigured
from wetread.jobs.spawning import Starter, start_shielded
from wetread.service.listener_process import Ports, Reception, listen
from wetread.service.ownership import await_listeners

logger = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0
RESTART_S = 5.0
_MOST_PROCESSES = 4


class Listeners:
    """Start, watch and stop the listeners. They end by themselves when this process ends, however that happens."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._reception = Reception(config.data_dir, config.listener, config.senders(), config.spool.reserve_mb * 2**20)
        self._starter = Starter()
        self._ports: Ports | None = None
        self._running: list[RunningEntrance] = []

    @property
    def pids(self) -> list[int]:
        """The process ids of the listeners."""
        return [running.process.pid or 0 for running in self._running]

    def start(self) -> Ports:
        """Start listening; returns the ports. Raises: ``Misconfigured`` when they cannot be bound."""
        await_listeners(self._config.data_dir)
        self._ports = _bind(self._config)
        count = self._config.listener.processes or min(os.cpu_count() or 1, _MOST_PROCESSES)
        self._running = [self._start_one(self._ports) for _ in range(count)]
        for running in self._running:
            running.wait_until_listening()
        return self._ports

    def keep_alive(self) -> list[int]:
        """Start each listener again that ended; what it acknowledged is in the spool. Process ids of those."""
        ended = []
        for place, running in enumerate(self._running):
            if self._ports is None or running.process.is_alive() or running.age_s < RESTART_S:
                continue
            logger.error("a listener ended with exit code %s; it is started again", running.process.exitcode)
            running.end(timeout_s=0.0)
            ended.append(running.process.pid or 0)
            self._running[place] = self._start_one(self._ports)
        return ended

    def stop(self) -> None:
        """End associations under way and stop listening."""
        if self._ports is not None:
            self._ports.close()
            self._ports = None
        for running in self._running:
            running.lifeline.close()
        for running in self._running:
            running.end(timeout_s=10.0)
        self._running.clear()
        self._starter.close()

    def _start_one(self, ports: Ports) -> RunningEntrance:
        return RunningEntrance(self._starter, listen, self._reception, ports)


class RunningEntrance:
    """One process of an entrance: ``main(lifeline, *args)`` says that all is well, or why not, then works."""

    def __init__(self, starter: Starter, main: Callable[..., None], *args: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.lifeline, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=main, args=(theirs, *args), daemon=True)
        self._started = time.monotonic()
        start_shielded(self.process, starter)
        theirs.close()

    @property
    def age_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    def wait_until_listening(self) -> None:
        """Raises: ``Misconfigured`` with its reason when it cannot listen."""
        problem: object = "no answer"
        if self.lifeline.poll(_START_TIMEOUT_S):
            try:
                problem = self.lifeline.recv()
            except EOFError:
                problem = "a process that should listen ended at once"
        if problem:
            raise Misconfigured(str(problem))

    def end(self, *, timeout_s: float) -> None:
        """Its lifeline is closed; kill it if it does not end by itself."""
        self.lifeline.close()
        self.process.join(timeout=timeout_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _bind(config: Config) -> Ports:
    settings = config.listener
    plain = listening_socket(settings.host, settings.port) if settings.plain else None
    tls = listening_socket(settings.host, settings.tls.port) if settings.tls.certificate else None
    return Ports(plain, tls)
