"""The listener processes: they keep instances in the spool and know neither database nor pixels.

The port is bound here, once, and shared: a process that dies leaves no gap, callers wait in the port's queue until
another one accepts them.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from wetread import log
from wetread.config import Config
from wetread.deliver.reports import REPORTS, keep_report
from wetread.dimse.places import Places
from wetread.dimse.server import listening_socket
from wetread.errors import Misconfigured
from wetread.jobs.spawning import start_shielded
from wetread.receive.listener import Callbacks, Listener
from wetread.service.ownership import await_listeners, mark_listening
from wetread.store.spool import Spool

logger = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0
RESTART_S = 5.0
_MOST_PROCESSES = 4


@dataclass(frozen=True, slots=True)
class Ports:
    """The sockets all listener processes accept from."""

    plain: socket.socket | None
    tls: socket.socket | None

    @property
    def port(self) -> int:
        """The port to tell people: the one without TLS if there is one."""
        shown = self.plain or self.tls
        return int(shown.getsockname()[1]) if shown else 0

    def close(self) -> None:
        """Callers are refused from now on."""
        for sock in (self.plain, self.tls):
            if sock is not None:
                sock.close()


class Listeners:
    """Start, watch and stop the listeners. They end by themselves when this process ends, however that happens."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ports: Ports | None = None
        self._running: list[RunningEntrance] = []

    @property
    def pids(self) -> list[int]:
        """The process ids of the listeners."""
        return [running.process.pid or 0 for running in self._running]

    def start(self) -> int:
        """Start listening; returns the port. Raises: ``Misconfigured`` when it cannot be bound."""
        await_listeners(self._config.data_dir)
        self._ports = _bind(self._config)
        count = self._config.listener.processes or min(os.cpu_count() or 1, _MOST_PROCESSES)
        self._running = [RunningEntrance(listen, self._config, self._ports) for _ in range(count)]
        for running in self._running:
            running.wait_until_listening()
        return self._ports.port

    def keep_alive(self) -> None:
        """Start each listener again that ended; what it acknowledged is in the spool."""
        for place, running in enumerate(self._running):
            if self._ports is None or running.process.is_alive() or running.age_s < RESTART_S:
                continue
            logger.error("a listener ended with exit code %s; it is started again", running.process.exitcode)
            running.end(timeout_s=0.0)
            self._running[place] = RunningEntrance(listen, self._config, self._ports)

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


class RunningEntrance:
    """One process of an entrance: ``main(lifeline, *args)`` says that all is well, or why not, then works."""

    def __init__(self, main: Callable[..., None], *args: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.lifeline, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=main, args=(theirs, *args), daemon=True)
        self._started = time.monotonic()
        start_shielded(self.process)
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


def listen(lifeline: Connection, config: Config, ports: Ports) -> None:
    """Main function of a listener process: say that all is well, then listen until the lifeline breaks."""
    log.configure()
    _lock = mark_listening(config.data_dir)
    spool = Spool(config.data_dir / "spool", reserve_bytes=config.spool.reserve_mb * 2**20)
    reported = partial(keep_report, config.data_dir / REPORTS)
    callbacks = Callbacks(keep=spool.keep, note=spool.note, reported=reported, scratch=spool.scratch)
    places = Places(config.listener.max_associations, config.data_dir / "associations.lock")
    listener = Listener(config.listener, config.senders(), callbacks, places)
    try:
        listener.accept(ports.plain, ports.tls)
    except Misconfigured as exc:
        lifeline.send(str(exc))
        return
    try:
        lifeline.send("")
    except BrokenPipeError:
        return  # the coordinator ended while we were starting
    try:
        lifeline.recv()
    except (EOFError, OSError):
        listener.stop()
    # Threads of associations that do not answer must not keep the process; what they stored is on disk.
    os._exit(0)
