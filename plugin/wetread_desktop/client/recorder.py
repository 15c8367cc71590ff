"""Decisions on their way: on disk first, then to the edge, in the order they were made.

Two threads, and no reader waits. The writer makes a decision durable and tells so; only then is it shown. The sender
tries until the edge has them.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wetread.review.decisions import Decision
from wetread_desktop.client.edge import Edge
from wetread_desktop.client.errors import EdgeError, HeldByAnother, NotAcceptable
from wetread_desktop.client.journal import Journal, JournalBusy, Owner
from wetread_desktop.client.reviews import ReviewDocument

_PAUSES_S = (1.0, 2.0, 5.0, 10.0)
"""After the first, second, … failure in a row; the last one from then on."""
_LOOK_AGAIN_S = 0.3
_PATIENCE_S = 1.5
"""How long another may have the journal before the reader is told; what is left of it is sent within that."""


@dataclass(frozen=True, slots=True)
class Told:
    """Whom the recorder tells, on its own threads."""

    opened: Callable[[tuple[Decision, ...]], None]
    """The journal is open; these were in it."""
    recorded: Callable[[Decision], None]
    """It is on disk."""
    taken: Callable[[ReviewDocument, tuple[str, ...]], None]
    """The edge has these; this is the review now."""
    refused: Callable[[Decision, Exception], None]
    """The edge will never take it, or it could not be taken down; it is pending no longer."""
    trouble: Callable[[Exception], None]
    """``OSError``, ``JournalBusy``, ``JournalBroken``: nothing can be taken down. ``EdgeError``: tried again if it says
    so, else after ``try_again``."""


class Recorder:
    """For one review."""

    def __init__(self, folder: Path, owner: Owner, edge: Edge, told: Told, *, may_send: bool = True) -> None:
        """``folder``: of journals. ``may_send``: whether the read is one that may still be decided on."""
        self._folder, self._owner, self._edge, self._told = folder, owner, edge, told
        self._journal: Journal | None = None
        self._guard = threading.Condition()
        self._writes: queue.SimpleQueue[Decision | None] = queue.SimpleQueue()
        self._may_send, self._leaving = may_send, False
        self._closed = self._stuck = self._holds = self._take_over = False
        self._writer = threading.Thread(target=self._write, name="wetread-journal", daemon=True)
        self._sender = threading.Thread(target=self._send, name="wetread-send", daemon=True)
        self._writer.start()

    def record(self, decision: Decision) -> None:
        """Take it down and send it."""
        self._writes.put(decision)

    def try_again(self, *, take_over: bool = False) -> None:
        """Send what is pending, after trouble. ``take_over``: also from another reader's hands."""
        with self._guard:
            self._stuck, self._take_over = False, self._take_over or take_over
            self._guard.notify_all()

    def give_up(self, reason: str) -> tuple[str, ...]:
        """Send nothing of what is pending. Returns: the ids. Raises: ``OSError``."""
        with self._guard:
            if self._journal is None:
                return ()
            ids = tuple(d.id for d in self._journal.pending)
            self._journal.dropped(ids, reason)
            return ids

    def close(self, timeout_s: float = 2.0, *, held: bool = False) -> None:
        """Write what is to be written; what is not sent by then stays in the journal, and the review in our hands.

        Where nothing is left to be sent, another reader may decide from now on. ``held``: this reader holds the review,
        whether or not anything was sent from here.
        """
        self._leaving = True
        self._writes.put(None)
        self._writer.join(timeout_s)
        with self._guard:
            lets_go = not self._closed and not self._pending() and (held or self._holds)
            self._closed = True
            self._guard.notify_all()
            if self._journal is not None:
                self._journal.close()
        if lets_go:
            self._let_go(timeout_s)

    def _let_go(self, timeout_s: float) -> None:
        """On a thread of its own: nobody who closes a window waits for a network that is down."""

        def call() -> None:
            with contextlib.suppress(EdgeError):  # then the next one asks for it, as from a window that died
                self._edge.let_go(self._owner.job_id)

        thread = threading.Thread(target=call, name="wetread-let-go", daemon=True)
        thread.start()
        thread.join(timeout_s)

    def _write(self) -> None:
        try:
            journal = self._opened()
        except Exception as error:  # told to the reader: without a journal nothing is decided
            self._told.trouble(error)
            return
        if journal is None:
            return
        self._journal = journal
        self._told.opened(journal.pending)
        self._sender.start()
        while (decision := self._writes.get()) is not None:
            try:
                with self._guard:
                    journal.add(decision)
                    self._guard.notify_all()
            except (OSError, ValueError) as error:
                self._told.refused(decision, error)
            else:
                self._told.recorded(decision)

    def _opened(self) -> Journal | None:
        """The journal as soon as nobody else has it; none when closed. Raises: ``JournalBroken``, ``OSError``."""
        waited_s = 0.0
        while not self._leaving:
            try:
                return Journal(self._folder, self._owner)
            except JournalBusy as error:
                if waited_s < _PATIENCE_S <= waited_s + _LOOK_AGAIN_S:
                    self._told.trouble(error)
            with self._guard:
                self._guard.wait_for(lambda: self._leaving, _LOOK_AGAIN_S)
            waited_s += _LOOK_AGAIN_S
        return None

    def _send(self) -> None:
        failures = 0
        while (pending := self._next()) is not None:
            try:
                self._send_now(pending)
                failures = 0
            except (EdgeError, OSError) as error:  # OSError: sent, and the journal does not take that down
                self._told.trouble(error)
                self._pause(error, _PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
                failures += 1

    def _next(self) -> tuple[Decision, ...] | None:
        """What is to be sent, as soon as there is something; none when closed."""
        with self._guard:
            while not self._closed and (self._stuck or not self._may_send or not self._pending()):
                self._guard.wait()
            return None if self._closed else self._pending()

    def _pending(self) -> tuple[Decision, ...]:
        return self._journal.pending if self._journal is not None else ()

    def _pause(self, error: EdgeError | OSError, seconds: float) -> None:
        with self._guard:
            self._holds = self._holds and not isinstance(error, HeldByAnother)
            if isinstance(error, OSError) or error.retry:
                self._guard.wait_for(lambda: self._closed or self._take_over, seconds)
            else:
                self._stuck = True

    def _send_now(self, pending: Sequence[Decision]) -> None:
        """Raises: ``EdgeError``; ``OSError`` when the journal cannot say that they were sent."""
        job_id = self._owner.job_id
        if others := [d for d in pending if d.reader != self._edge.address.reader]:
            self._send_of_another(others)
            return
        if not self._holds:
            self._edge.hold(job_id, take_over=self._take_over)
            self._holds, self._take_over = True, False
        if self._closed:
            return  # the window went while we asked: the next one sends them, if they are the same patient's
        try:
            self._taken(self._decided(pending), pending)
        except NotAcceptable as error:
            if len(pending) > 1:
                self._one_by_one(pending)
            else:
                self._refused(pending[0], error)

    def _send_of_another(self, pending: Sequence[Decision]) -> None:
        """Who decided was set here before; it goes under that name. Raises: ``EdgeError``, ``OSError``."""
        reader = pending[0].reader
        theirs = [d for d in pending if d.reader == reader]
        with held(self._edge.as_reader(reader), self._owner.job_id) as edge:
            edge.decide(self._owner.job_id, [wire(d) for d in theirs])
        self._taken(self._edge.review(self._owner.job_id), theirs)

    def _decided(self, pending: Sequence[Decision]) -> ReviewDocument:
        """Send these. A window of this reader that closed let go of the review for us, too: then hold it again."""
        job_id, wires = self._owner.job_id, [wire(d) for d in pending]
        try:
            return self._edge.decide(job_id, wires)
        except HeldByAnother:
            self._edge.hold(job_id)
            return self._edge.decide(job_id, wires)

    def _one_by_one(self, pending: Sequence[Decision]) -> None:
        """One of them is not acceptable: find out which, and send the others."""
        for decision in pending:
            try:
                self._taken(self._decided([decision]), [decision])
            except NotAcceptable as error:
                self._refused(decision, error)

    def _taken(self, review: ReviewDocument, decisions: Sequence[Decision]) -> None:
        ids = tuple(d.id for d in decisions)
        with self._guard:
            if self._journal is not None and not self._closed:
                self._journal.sent(ids)
        self._told.taken(review, ids)

    def _refused(self, decision: Decision, error: EdgeError) -> None:
        with self._guard:
            if self._journal is not None and not self._closed:
                self._journal.dropped([decision.id], str(error))
        self._told.refused(decision, error)


@contextlib.contextmanager
def held(edge: Edge, job_id: str) -> Iterator[Edge]:
    """Hold a review for one visit. Raises: ``EdgeError``."""
    edge.hold(job_id)
    try:
        yield edge
    finally:
        with contextlib.suppress(EdgeError):  # then the next one asks for it, as from a window that died
            edge.let_go(job_id)


def wire(decision: Decision) -> dict[str, Any]:
    """As ``POST …/review/decisions`` takes it; who decided stands in the header of the call."""
    return {
        "id": decision.id,
        "tracking_uid": decision.tracking_uid,
        "action": decision.action,
        "comment": decision.comment,
        "at": decision.at,
    }
