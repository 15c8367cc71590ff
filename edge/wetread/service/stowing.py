"""The STOW-RS entrance's process: like the listeners', it keeps instances in the spool and knows no database."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from multiprocessing.connection import Connection

from wetread import log
from wetread.config import Config
from wetread.dimse.server import listening_socket
from wetread.dimse.tls import server_context
from wetread.errors import Misconfigured
from wetread.jobs.spawning import Starter
from wetread.receive.stow_settings import read_tokens
from wetread.service.listening import RESTART_S, RunningEntrance
from wetread.service.ownership import mark_listening
from wetread.store.spool import Spool

logger = logging.getLogger(__name__)

_SPARE_CONNECTIONS = 50  # so that one request too many hears 503 in DICOM's words


class StowProcess:
    """Start, watch and stop STOW-RS, if somebody may send so; to be started after the listeners."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._starter = Starter()
        self._socket: socket.socket | None = None
        self._running: RunningEntrance | None = None

    def start(self) -> None:
        """Raises: ``Misconfigured`` when the port cannot be bound or a token file is not usable."""
        if self._config.stow.clients:
            self._socket = listening_socket(self._config.stow.host, self._config.stow.port)
            self._running = RunningEntrance(self._starter, serve_stow, self._config, self._socket)
            self._running.wait_until_listening()

    def keep_alive(self) -> None:
        """Start it again if it ended; what it acknowledged is in the spool."""
        running = self._running
        if running is not None and not running.process.is_alive() and running.age_s >= RESTART_S:
            logger.error("STOW-RS ended with exit code %s; it is started again", running.process.exitcode)
            running.end(timeout_s=0.0)
            self._running = RunningEntrance(self._starter, serve_stow, self._config, self._socket)

    def stop(self) -> None:
        """End requests under way and stop listening."""
        if self._socket is not None:
            self._socket.close()
        if self._running is not None:
            self._running.end(timeout_s=10.0)
        self._socket = self._running = None
        self._starter.close()


def serve_stow(lifeline: Connection, config: Config, listening: socket.socket) -> None:
    """Main function of the process: say that all is well, then serve until the lifeline breaks."""
    from wetread.receive.http_server import HttpServer
    from wetread.receive.stow import StowEntrance

    log.configure()
    _lock = mark_listening(config.data_dir)
    spool = Spool(config.data_dir / "spool", reserve_bytes=config.spool.reserve_mb * 2**20)
    try:
        tokens = read_tokens(config.stow.clients)
        entrance = StowEntrance(config.stow, tokens, keep=spool.keep, note=spool.note)
        server = HttpServer(entrance.app, max_connections=config.stow.max_requests + _SPARE_CONNECTIONS)
        server.start(listening, _https(config))
    except Misconfigured as exc:
        lifeline.send(str(exc))
        return
    try:
        lifeline.send("")
        lifeline.recv()
    except (EOFError, OSError):
        server.stop()
        entrance.refusals.flush()
    os._exit(0)


def _https(config: Config) -> ssl.SSLContext | None:
    """HTTPS as ``[listener.tls]`` says, if it is asked for. Raises: ``Misconfigured``."""
    tls = config.listener.tls
    if not config.stow.tls:
        return None
    return server_context(tls.certificate, tls.key, client_ca=tls.client_ca, client_certificate=tls.client_certificate)
