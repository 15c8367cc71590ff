"""An ASGI application on a socket of ours, in a thread: no signal handlers, no logging, patience with limits."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from wetread.dimse.tls import certificate_of

_STOP_TIMEOUT_S = 30.0
_REQUEST_TIMEOUT_S = 10.0


class HttpServer:
    """``start`` serves, ``stop`` ends requests under way."""

    def __init__(self, app: Any, *, max_connections: int) -> None:
        self._app = app
        self._max_connections = max_connections
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a socket that listens."""
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=self._max_connections,
            timeout_graceful_shutdown=1,
            ssl_context_factory=(lambda _config, _default: tls) if tls else None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="http", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_TIMEOUT_S)
            self._server = None


class _Protocol(H11Protocol):
    """uvicorn waits for ever for the first request; and the application must know the client's certificate."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # asyncio does it for sockets made with IPPROTO_TCP alone; without it every answer of two writes takes 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        encrypted = transport.get_extra_info("ssl_object")
        der = encrypted.getpeercert(binary_form=True) if encrypted else None
        self.app_state = {**self.app_state, "certificate": certificate_of(der) if der else None}
        self._patience = self.loop.call_later(_REQUEST_TIMEOUT_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.close()
