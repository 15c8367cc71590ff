"""Ask the PACS that sends a study how many instances it has, in threads: the coordinator never waits for a network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from wetread.dimse.query import StudyCount
from wetread.errors import WetreadError

logger = logging.getLogger(__name__)

Ask = Callable[[str, str], StudyCount | None]
"""Asks the peer of this name about a Study Instance UID; ``None``: it does not have the study.

Raises: ``Temporary`` with a sentence when it cannot be asked."""

_THREADS = 2
_AGAIN_S = 2.0
"""A count that is not reached is asked again: the PACS may still be receiving itself."""
_PATIENCE_S = 10.0
"""Longest wait for an answer, the time in the queue included."""
_REST_S = 30.0
"""A peer that could not be asked is left alone for so long."""
_POLL_S = 0.05
NEVER_S = float("inf")


@dataclass(frozen=True, slots=True)
class Counted:
    """What asking gave so far. ``again_s``: when there may be more to know."""

    peer: str = ""
    answer: StudyCount | None = None
    pending: bool = False
    problem: str = ""
    again_s: float = NEVER_S


@dataclass(slots=True)
class _Question:
    peer: str
    asked_at: float
    future: Future[StudyCount | None]
    before: StudyCount | None = None
    """The answer to the same question a moment ago."""


class Counting:
    """The questions under way. All methods are called by the coordinator's thread."""

    def __init__(self, ask: Ask, peers: frozenset[str], *, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._peers = peers
        self._clock = clock
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="count")
        self._questions: dict[int, _Question] = {}
        self._rests: dict[str, tuple[float, str]] = {}

    def look(self, study_id: int, study_instance_uid: str, *, senders: Iterable[str], changed_at: float) -> Counted:
        """What is known now; asks if nothing was asked since ``changed_at``, and again while the answer may change."""
        peer = next(iter(sorted(self._peers.intersection(senders))), "")
        if not peer:
            return Counted()
        question = self._questions.get(study_id)
        if question is None or question.asked_at < changed_at:
            return self._put(study_id, study_instance_uid, peer)
        if not question.future.done():
            waiting = self._clock() - question.asked_at < _PATIENCE_S
            problem = "" if waiting else f"no answer in {_PATIENCE_S:g} s"
            again_s = _POLL_S if waiting else NEVER_S
            return Counted(question.peer, question.before, pending=waiting, problem=problem, again_s=again_s)
        return self._answered(study_id, study_instance_uid, question)

    def forget(self, study_id: int) -> None:
        """The study needs no count any more."""
        question = self._questions.pop(study_id, None)
        if question is not None:
            question.future.cancel()

    def close(self) -> None:
        """Ask nothing more; questions under way end by their own time-out."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _put(self, study_id: int, study_instance_uid: str, peer: str, *, before: StudyCount | None = None) -> Counted:
        at = self._clock()
        rest_until, problem = self._rests.get(peer, (at, ""))
        if at < rest_until:
            return Counted(peer, before, problem=problem, again_s=rest_until - at)
        self.forget(study_id)
        future = self._pool.submit(self._ask, peer, study_instance_uid)
        self._questions[study_id] = _Question(peer, at, future, before)
        return Counted(peer, before, pending=True, again_s=_POLL_S)

    def _answered(self, study_id: int, study_instance_uid: str, question: _Question) -> Counted:
        try:
            answer = question.future.result()
        except Exception as exc:  # recorded with the revision: the study goes on without the count
            known = isinstance(exc, WetreadError)
            problem = str(exc) if known else f"internal error ({type(exc).__name__})"
            if not known:
                logger.exception("asking %s for a count failed", question.peer)
            del self._questions[study_id]
            self._rests[question.peer] = (self._clock() + _REST_S, problem)
            return Counted(question.peer, problem=problem, again_s=_REST_S)
        age_s = self._clock() - question.asked_at
        if age_s >= _AGAIN_S:
            self._put(study_id, study_instance_uid, question.peer, before=answer)
            return Counted(question.peer, answer, again_s=_POLL_S)  # what was answered last may do; if not, look again
        return Counted(question.peer, answer, again_s=_AGAIN_S - age_s)
