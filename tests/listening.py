"""A listener in this process, and what it hands over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wetread.dimse.commitment import CommitmentRequest
from wetread.errors import SpoolUnavailable
from wetread.receive.admission import Sender
from wetread.receive.listener import Callbacks, Listener, ListenerSettings
from wetread.records.notes import AssociationEnd, Note
from wetread.records.received import ReceivedInstance


@dataclass
class Kept:
    """What the listener handed over, in its order."""

    instances: list[ReceivedInstance] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    asked: list[tuple[str, CommitmentRequest]] = field(default_factory=list)
    full: bool = False

    def keep(self, received: ReceivedInstance) -> None:
        if self.full:
            raise SpoolUnavailable("12 MiB free on the spool's disk, 64 MiB are kept in reserve")
        self.instances.append(
            dataclasses.replace(received, dataset=bytes(received.dataset))
        )  # it is the listener's memory
        self.order.append("instance")

    def note(self, note: Note) -> None:
        self.notes.append(note)
        self.order.append(type(note).__name__)

    def ask(self, peer: str, request: CommitmentRequest) -> None:
        if self.full:
            raise OSError("disk full")
        self.asked.append((peer, request))

    def ends(self) -> list[tuple[str, int]]:
        return [(n.ended, n.instances) for n in self.notes if isinstance(n, AssociationEnd)]


Listen = Callable[..., tuple[int, Kept]]
CT1 = Sender("ct1", "CT1", ("127.0.0.1/32",))


def listeners() -> Iterator[Listen]:
    """Start listeners; keywords are their settings. Each gives its port (with TLS: that one), and what it kept."""
    running: list[Listener] = []

    def start(senders: tuple[Sender, ...] = (CT1,), **settings: object) -> tuple[int, Kept]:
        kept = Kept()
        callbacks = Callbacks(kept.keep, kept.note, asked=kept.ask)
        listener = Listener(ListenerSettings(port=0, **settings), senders, callbacks)  # type: ignore[arg-type]
        running.append(listener)
        return (listener.start_tls() if "tls" in settings else listener.start()), kept

    yield start
    for listener in running:
        listener.stop()
