"""The HTTP interface's process: whatever a client does to it, reception, reads and delivery go on.

It has connections of its own to the database and goes through the same code as the commands, one short transaction for
each change; the coordinator finds what was asked for in its next round. It never loads a model.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
from multiprocessing.connection import Connection

from wetread import log
from wetread.api.settings import read_or_make_token, token_path
from wetread.config import Config
from wetread.dimse.server import listening_socket
from wetread.dimse.tls import server_context
from wetread.errors import Misconfigured
from wetread.jobs.spawning import Starter
from wetread.service.listening import RESTART_S, RunningEntrance
from wetread.service.ownership import mark_listening

logger = logging.getLogger(__name__)

_MAX_CONNECTIONS = 200


class ApiProcess:
    """Start, watch and stop the HTTP interface."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._starter = Starter()
        self._socket: socket.socket | None = None
        self._running: RunningEntrance | None = None

    @property
    def url(self) -> str:
        """Where it answers; '' when it does not."""
        if self._socket is None:
            return ""
        host, port = self._socket.getsockname()[:2]
        scheme = "https" if self._config.api.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> None:
        """Raises: ``Misconfigured`` when the port cannot be bound or the token file is not usable."""
        api = self._config.api
        if not api.enabled:
            return
        read_or_make_token(token_path(api, self._config.data_dir))
        try:
            self._socket = listening_socket(api.host, api.port)
        except Misconfigured as exc:
            raise Misconfigured(f"the HTTP interface: {exc}; see [api] port") from exc
        self._running = RunningEntrance(self._starter, serve_api, self._config, self._socket)
        self._running.wait_until_listening()

    def keep_alive(self) -> None:
        """Start it again if it ended; what it answered is on disk."""
        running = self._running
        if running is not None and not running.process.is_alive() and running.age_s >= RESTART_S:
            logger.error("the HTTP interface ended with exit code %s; it is started again", running.process.exitcode)
            running.end(timeout_s=0.0)
            self._running = RunningEntrance(self._starter, serve_api, self._config, self._socket)

    def stop(self) -> None:
        """End calls under way and stop listening."""
        if self._socket is not None:
            self._socket.close()
        if self._running is not None:
            self._running.end(timeout_s=10.0)
        self._socket = self._running = None
        self._starter.close()


def serve_api(lifeline: Connection, config: Config, listening: socket.socket) -> None:
    """Main function of the process: say that all is well, then serve until the lifeline breaks."""
    from wetread.api.app import make_app
    from wetread.receive.http_server import HttpServer
    from wetread.service.desk import make_parts, upload_limits

    log.configure()
    _lock = mark_listening(config.data_dir)
    try:
        token = read_or_make_token(token_path(config.api, config.data_dir))
        app = make_app(make_parts(config), token=token, limits=upload_limits(config))
        server = HttpServer(app, max_connections=_MAX_CONNECTIONS)
        server.start(listening, _https(config))
    except Misconfigured as exc:
        lifeline.send(str(exc))
        return
    try:
        lifeline.send("")
        lifeline.recv()
    except (EOFError, OSError):
        server.stop()
    os._exit(0)


def _https(config: Config) -> ssl.SSLContext | None:
    """HTTPS with our certificate; readers show a token, not a certificate. Raises: ``Misconfigured``."""
    tls = config.listener.tls
    if not config.api.tls:
        return None
    return server_context(tls.certificate, tls.key, client_ca="", client_certificate="none")
