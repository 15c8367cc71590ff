"""The listening socket: one thread accepts; each connection has a thread that sees it from first byte to end."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from wetread.dimse.connection import LimitedSocket, ReadLimits
from wetread.dimse.door import MAX_WAITING, TurnedAway, Visitor, Waiting, WentAway, hang_up, open_door
from wetread.dimse.state_machine import SteadyStateMachine
from wetread.errors import Misconfigured

logger = logging.getLogger(__name__)

_BACKLOG = 128
_MAX_OVER_LIMIT = 100  # connections beyond all limits that may hear a polite rejection

_COURTESY_S, _MOST_COURTESY = 0.001, 5


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """What one port asks of a connection."""

    tls: ssl.SSLContext | None
    """None: the port without TLS."""
    request_timeout_s: float
    """From the connection to the whole A-ASSOCIATE-RQ, handshake included."""
    max_associations: int
    read: ReadLimits


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; several processes may accept from it.

    Raises: ``Misconfigured`` when the address cannot be bound.
    """
    ipv6 = ":" in host
    try:
        listening = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if ipv6 else socket.AF_INET,
            backlog=_BACKLOG,
            dualstack_ipv6=ipv6 and socket.has_dualstack_ipv6(),
        )
    except OSError as exc:
        why = (
            "is another program using the port?" if exc.errno == errno.EADDRINUSE else "has this machine that address?"
        )
        problem = f"cannot listen on {host}:{port}: {exc.strerror or exc}; {why}"
        raise Misconfigured(problem) from exc
    listening.setblocking(False)  # another process may take the caller between our look and our accept
    return listening


class Server(ThreadedAssociationServer):
    """pynetdicom's server, with handlers that stay until the association is over.

    ``on_end`` is told each association when its thread has ended, whatever ended it; ``on_turned_away`` is told the
    address and why, when there was no association.
    """

    daemon_threads = True

    def __init__(
        self,
        *args: Any,
        listening: socket.socket,
        door: DoorSettings,
        on_end: Callable[[Any], None],
        on_turned_away: Callable[[str, TurnedAway], None],
        **kwargs: Any,
    ) -> None:
        self.socket: socket.socket  # pynetdicom does without one before and after
        self._listening = listening
        self.door = door
        self.waiting = Waiting()
        self.callbacks = (on_end, on_turned_away)
        self._connections: set[threading.Thread] = set()
        super().__init__(*args, request_handler=_Handler, **kwargs)

    def server_bind(self) -> None:
        """The socket is bound already, and other processes may share it."""
        self.socket.close()
        self.socket = self._listening
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """The socket listens already."""

    def server_close(self) -> None:
        """Close our end; pynetdicom shuts the socket down, for those too that share it."""
        self.socket.close()

    def start(self) -> int:
        """Accept connections; returns the port."""
        threading.Thread(target=self.serve_forever, name="accept", daemon=True).start()
        return int(self.socket.getsockname()[1])

    def wait_for_connections(self, timeout_s: float) -> None:
        """Wait until the threads of all connections have ended, at most so long; whoever asked for nothing leaves."""
        self.waiting.dismiss()
        deadline = time.monotonic() + timeout_s
        for thread in tuple(self._connections):
            thread.join(max(0.0, deadline - time.monotonic()))

    def get_request(self) -> Any:
        """Accept; who has connections already lets the other processes of the port go first, for a moment."""
        time.sleep(min(len(self._connections), _MOST_COURTESY) * _COURTESY_S)
        return super().get_request()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is a thread to spare."""
        return len(self._connections) < self.door.max_associations + MAX_WAITING + _MAX_OVER_LIMIT

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, in its own thread."""
        thread = threading.current_thread()
        self._connections.add(thread)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.discard(thread)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Instead of a traceback on stderr."""
        logger.exception("a connection from %s ended in an error", client_address[0])


class _Handler(RequestHandler):
    """pynetdicom's handler returns once the association has started; this one knows when it is over."""

    def handle(self) -> None:
        on_end, on_turned_away = self.server.callbacks
        with self.server.waiting.visit(self.request) as visitor, contextlib.ExitStack() as stack:
            stack.callback(lambda: hang_up(visitor.connection))
            try:
                request = open_door(visitor, self.server.door.tls, self.server.door.request_timeout_s)
            except TurnedAway as exc:
                on_turned_away(self.client_address[0], exc)
                return
            except WentAway:
                return
            stack.pop_all()
        try:
            assoc = self._associate(visitor, request)
            assoc.start()
            assoc.join()
            on_end(assoc)
        finally:
            hang_up(visitor.connection)

    def _associate(self, visitor: Visitor, request: bytes) -> Association:
        """As pynetdicom's own, but with our socket, and no deep copy of all contexts (50 ms): nobody writes them."""
        ae, assoc = self.ae, Association(self.ae, MODE_ACCEPTOR)
        assoc._server = self.server
        assoc.dul.state_machine = SteadyStateMachine(assoc.dul)
        assoc.name = f"AcceptorThread@{self.client_address[0]}"  # pynetdicom finds its associations by this name
        assoc.wetread_socket = LimitedSocket(assoc, visitor.connection, request, self.server.door.read)
        assoc.set_socket(assoc.wetread_socket)
        assoc.acceptor.maximum_length = ae.maximum_pdu_size
        assoc.acceptor.ae_title = self.server.ae_title
        assoc.acceptor.address_info = self.local
        assoc.acceptor.implementation_class_uid = ae.implementation_class_uid
        assoc.acceptor.implementation_version_name = ae.implementation_version_name
        assoc.acceptor.supported_contexts = self.server.contexts
        assoc.requestor.address_info = self.remote
        for event, handlers in self.server._handlers.items():
            for handler in [handlers] if event.is_intervention else handlers:
                assoc.bind(event, *handler)
        evt.trigger(assoc, evt.EVT_CONN_OPEN, {"address": self.client_address})
        return assoc
