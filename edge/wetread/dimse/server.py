"""The listening socket: one thread accepts; each connection has a thread that sees it from first byte to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pynetdicom.transport import RequestHandler, ThreadedAssociationServer


class Server(ThreadedAssociationServer):
    """pynetdicom's server, with handlers that stay until the association is over.

    ``on_end`` is told each association when its thread has ended, whatever ended it.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any, on_end: Callable[[Any], None], **kwargs: Any) -> None:
        self.on_end = [on_end]
        self._connections: set[threading.Thread] = set()
        super().__init__(*args, request_handler=_Handler, **kwargs)

    def start(self) -> int:
        """Accept connections; returns the port."""
        threading.Thread(target=self.serve_forever, name="accept", daemon=True).start()
        return int(self.socket.getsockname()[1])

    def wait_for_connections(self, timeout_s: float) -> None:
        """Wait until the threads of all connections have ended, at most so long."""
        deadline = time.monotonic() + timeout_s
        for thread in tuple(self._connections):
            thread.join(max(0.0, deadline - time.monotonic()))

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, in its own thread."""
        thread = threading.current_thread()
        self._connections.add(thread)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.discard(thread)


class _Handler(RequestHandler):
    """pynetdicom's handler returns once the association has started; this one knows when it is over."""

    def handle(self) -> None:
        assoc = self._create_association()
        assoc.start()
        assoc.join()
        for report in self.server.on_end:
            report(assoc)
