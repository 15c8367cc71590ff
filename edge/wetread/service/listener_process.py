"""One listener process; it imports what receiving needs and no more: there are several, and all start at once."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from wetread import log
from wetread.deliver.reports import REPORTS, REQUESTS, keep_report, keep_request
from wetread.dimse.places import Places
from wetread.errors import Misconfigured
from wetread.receive.admission import Sender
from wetread.receive.listener import Callbacks, Listener, ListenerSettings
from wetread.service.ownership import mark_listening
from wetread.store.spool import Spool


@dataclass(frozen=True, slots=True)
class Ports:
    """The sockets all listener processes accept from."""

    plain: socket.socket | None
    tls: socket.socket | None

    @property
    def plain_port(self) -> int:
        """0: only those who speak TLS are heard."""
        return _port(self.plain)

    @property
    def tls_port(self) -> int:
        """0: nobody can speak TLS."""
        return _port(self.tls)

    def close(self) -> None:
        """Callers are refused from now on."""
        for sock in (self.plain, self.tls):
            if sock is not None:
                sock.close()


def _port(sock: socket.socket | None) -> int:
    return int(sock.getsockname()[1]) if sock else 0


@dataclass(frozen=True, slots=True)
class Reception:
    """What a listener process needs to know of the configuration."""

    data_dir: Path
    listener: ListenerSettings
    senders: tuple[Sender, ...]
    reserve_bytes: int


def listen(lifeline: Connection, reception: Reception, ports: Ports) -> None:
    """Main function of a listener process: say that all is well, then listen until the lifeline breaks."""
    log.configure()
    _lock = mark_listening(reception.data_dir)
    spool = Spool(reception.data_dir / "spool", reserve_bytes=reception.reserve_bytes)
    reported = partial(keep_report, reception.data_dir / REPORTS)
    asked = partial(keep_request, reception.data_dir / REQUESTS)
    callbacks = Callbacks(spool.keep, spool.note, reported=reported, asked=asked, scratch=spool.scratch)
    places = Places(reception.listener.max_associations, reception.data_dir / "associations.lock")
    listener = Listener(reception.listener, reception.senders, callbacks, places)
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
