"""An HTTP entrance as a process of its own: bound here, started again when it ends, gone with the coordinator."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from wetread import log
from wetread.config import Config
from wetread.dimse.server import listening_socket
from wetread.errors import Misconfigured
from wetread.jobs.spawning import Starter
from wetread.service.listening import RESTART_S, RunningEntrance
from wetread.service.ownership import mark_listening

logger = logging.getLogger(__name__)


class Place(Protocol):
    """The part of an entrance's settings that says where it is."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def tls(self) -> bool: ...


class HttpEntrance:
    """Start, watch and stop one entrance."""

    def __init__(self, name: str, main: Callable[[Connection, Config, socket.socket], None], config: Config) -> None:
        """``name``: what it is called in messages. ``main``: runs in its process and ends with ``answer``."""
        self._name = name
        self._main = main
        self._config = config
        self._starter = Starter()
        self._socket: socket.socket | None = None
        self._running: RunningEntrance | None = None

    def start(self, place: Place, section: str) -> str:
        """Listen at ``place``, which stands in ``section`` of the configuration; the address that answers then.

        Raises: ``Misconfigured`` when the port cannot be bound or a file it needs is not usable.
        """
        try:
            self._socket = listening_socket(place.host, place.port)
        except Misconfigured as exc:
            raise Misconfigured(f"{self._name}: {exc}; see [{section}] port") from exc
        self._running = self._start_one()
        self._running.wait_until_listening()
        host, port = self._socket.getsockname()[:2]
        return f"{'https' if place.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def keep_alive(self) -> list[int]:
        """Start it again if it ended; what it answered is on disk. Its process id then."""
        running = self._running
        if running is None or running.process.is_alive() or running.age_s < RESTART_S:
            return []
        logger.error("%s ended with exit code %s; it is started again", self._name, running.process.exitcode)
        running.end(timeout_s=0.0)
        self._running = self._start_one()
        return [running.process.pid or 0]

    def stop(self) -> None:
        """End requests under way and stop listening."""
        if self._socket is not None:
            self._socket.close()
        if self._running is not None:
            self._running.end(timeout_s=10.0)
        self._socket = self._running = None
        self._starter.close()

    def _start_one(self) -> RunningEntrance:
        return RunningEntrance(self._starter, self._main, self._config, self._socket)


@dataclass(frozen=True, slots=True)
class Opened:
    """What answers in the entrance's process."""

    app: Any
    """ASGI application."""
    max_connections: int
    tls: ssl.SSLContext | None = None
    at_end: Callable[[], None] = lambda: None


def answer(lifeline: Connection, config: Config, listening: socket.socket, open_app: Callable[[], Opened]) -> None:
    """Say that all is well, or why not, then serve until the lifeline breaks; ends the process.

    ``open_app`` may raise ``Misconfigured``.
    """
    from wetread.receive.http_server import HttpServer

    log.configure()
    _lock = mark_listening(config.data_dir)
    try:
        opened = open_app()
    except Misconfigured as exc:
        lifeline.send(str(exc))
        return
    server = HttpServer(opened.app, max_connections=opened.max_connections)
    server.start(listening, opened.tls)
    try:
        lifeline.send("")
        lifeline.recv()
    except (EOFError, OSError):
        server.stop()
        opened.at_end()
    os._exit(0)
