"""The listener's process: it keeps instances in the spool and knows neither database nor pixels."""

from __future__ import annotations

import logging
import multiprocessing
import os
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from wetread import log
from wetread.config import Config
from wetread.deliver.reports import REPORTS, keep_report
from wetread.errors import Misconfigured
from wetread.jobs.spawning import start_shielded
from wetread.receive.listener import Callbacks, Listener
from wetread.service.ownership import succeed_listener
from wetread.store.spool import Spool

logger = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0


class ListenerProcess:
    """Start, watch and stop the listener. It ends by itself when this process ends, however that happens."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._process: SpawnProcess | None = None
        self._lifeline: Connection | None = None
        self.port = config.listener.port

    def start(self) -> int:
        """Start listening; returns the port. Raises: ``Misconfigured`` when it cannot be bound."""
        context = multiprocessing.get_context("spawn")
        self._lifeline, theirs = context.Pipe()
        self._process = context.Process(target=listen, args=(theirs, self._config, self.port), daemon=True)
        start_shielded(self._process)
        theirs.close()
        self.port = self._wait_until_bound(self._lifeline)
        return self.port

    def keep_alive(self) -> None:
        """Start the listener again if it ended; what it acknowledged is in the spool."""
        if self._process is not None and not self._process.is_alive():
            logger.error("the listener ended with exit code %s; it is started again", self._process.exitcode)
            self.start()

    def stop(self) -> None:
        """End associations under way and stop listening."""
        if self._process is not None and self._lifeline is not None:
            self._lifeline.close()
            self._process.join(timeout=10.0)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._process = None

    def _wait_until_bound(self, lifeline: Connection) -> int:
        answer: object = "no answer"
        if lifeline.poll(_START_TIMEOUT_S):
            try:
                answer = lifeline.recv()
            except EOFError:
                answer = "the listener process ended at once"
        if not isinstance(answer, int):
            raise Misconfigured(str(answer))
        return answer


def listen(lifeline: Connection, config: Config, port: int) -> None:
    """Main function of the listener process: report the port, then listen until the lifeline breaks."""
    log.configure()
    _lock = succeed_listener(config.data_dir)
    spool = Spool(config.data_dir / "spool", reserve_bytes=config.spool.reserve_mb * 2**20)
    reported = partial(keep_report, config.data_dir / REPORTS)
    callbacks = Callbacks(keep=spool.keep, note=spool.note, reported=reported, scratch=spool.scratch)
    settings = config.listener
    listener = Listener(settings, config.senders(), callbacks)
    try:
        tls_port = listener.start_tls() if settings.tls.certificate else 0
        lifeline.send(listener.start(port) if settings.plain else tls_port)
    except Misconfigured as exc:
        lifeline.send(str(exc))
        return
    except BrokenPipeError:
        return  # the coordinator ended while we were starting
    try:
        lifeline.recv()
    except (EOFError, OSError):
        listener.stop()
    # Threads of associations that do not answer must not keep the process; what they stored is on disk.
    os._exit(0)
