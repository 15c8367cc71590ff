"""Decide and sign: what the reader presses becomes decisions on disk, then at the edge, then a signed report."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wetread.review.decisions import Action, Decision, DecisionRefused
from wetread_desktop.client import panel_state
from wetread_desktop.client.cards import Card, CardAction, card_of
from wetread_desktop.client.desk import Desk
from wetread_desktop.client.edge import Edge, Signer
from wetread_desktop.client.errors import EdgeError, HeldByAnother
from wetread_desktop.client.journal import JournalBusy, Owner, patient_digest, unfinished
from wetread_desktop.client.panel_state import Phase, ReviewView
from wetread_desktop.client.recorder import Recorder, Told
from wetread_desktop.client.results import Result
from wetread_desktop.client.review_session import ReviewSession
from wetread_desktop.client.reviews import Holder, ReviewDocument, ReviewState, Signed
from wetread_desktop.client.wording import clock_time, person_name
from wetread_desktop.client.words import Sentence, say, say_n


@dataclass(frozen=True, slots=True)
class _Open:
    """One review that is open here."""

    owner: Owner
    result: Result
    session: ReviewSession
    recorder: Recorder


class Reviewing:
    """The review of the result on the screen."""

    def __init__(self, desk: Desk, *, refresh: Callable[[], None], left: Callable[[], None]) -> None:
        """``refresh``: the rows of the list have changed; ``left``: a review was left, its journal is closed."""
        self._desk, self._refresh, self._left = desk, refresh, left
        self._busy: Card | None = None
        self._open: _Open | None = None
        self._ready = False

    @property
    def session(self) -> ReviewSession | None:
        """What was decided; none while there is no result."""
        return self._open.session if self._open else None

    @property
    def result(self) -> Result | None:
        """What is reviewed."""
        return self._open.result if self._open else None

    def begin(self, result: Result, document: ReviewDocument, edge: Edge) -> None:
        """Open the review of a result, with what was decided here before and never sent."""
        self.end()
        desk, subject = self._desk, self._desk.subject
        patient = patient_digest(result.patient, result.study_instance_uid)
        owner = Owner(desk.settings.url, result.job.job_id, result.study_instance_uid, patient)
        session = ReviewSession(document, desk.settings.reader)

        def here(call: Callable[[], None]) -> None:
            desk.background.tell(lambda: call() if self.session is session and desk.subject is subject else None)

        told = Told(
            opened=lambda pending: here(lambda: self._opened(pending)),
            recorded=lambda decision: here(lambda: self._recorded(decision)),
            taken=lambda review, ids: here(lambda: self._taken(review, ids)),
            refused=lambda decision, error: here(lambda: self._refused(decision, error)),
            trouble=lambda error: here(lambda: self._trouble(error)),
        )
        may_send = not (document.superseded or result.superseded_by)
        recorder = Recorder(desk.folder.journals, owner, edge, told, may_send=may_send)
        self._open = _Open(owner, result, session, recorder)
        self._ready = False
        self.show()
        self._warn_of_others(owner)

    def end(self) -> None:
        """Leave the review; what is not sent stays on disk."""
        was, self._open, self._ready = self._open, None, False
        if was is not None:
            held = self._holds(was.session.document)
            self._desk.background.run(
                lambda: was.recorder.close(held=held), lambda _: self._left(), lambda _: self._left()
            )

    def is_open(self, owner: Owner) -> bool:
        """Whether decisions of this owner go their way from here. May be asked on any thread."""
        opened = self._open
        return opened is not None and opened.owner == owner

    def close(self) -> None:
        """The viewer is about to end: wait until what was decided is on disk."""
        if self._open is not None:
            self._open.recorder.close(held=self._holds(self._open.session.document))
            self._open = None

    def why_not(self) -> Sentence:
        """Why nothing can be decided now; empty: it can."""
        opened = self._open
        if opened is None:
            return say("There is nothing to decide yet.")
        document = opened.session.document
        reasons: tuple[tuple[object, Sentence], ...] = (
            (self._desk.state.lock, self._desk.state.lock),
            (document.state is ReviewState.SIGNED, say("This read is signed.")),
            (document.superseded, say("This study was read again; decide on the newer read.")),
            (not self._desk.settings.reader, say("Set your name first: it stands with every decision.")),
            (self._held_by(document), say("{who} holds this review.", who=self._held_by(document))),
            (not self._ready, say("The journal of decisions is not open yet.")),
        )
        return next((sentence for reason, sentence in reasons if reason), "")

    def decide(self, tracking_uids: Sequence[str], action: Action, comment: str | None = None) -> bool:
        """Accept, reject, propose anew or comment. Returns: whether anything is to change."""
        opened = self._may()
        if opened is None:
            return False
        try:
            decisions = opened.session.decide(tracking_uids, action, comment)
        except DecisionRefused as error:
            self._desk.fail(error)
            return False
        self._record(decisions)
        return bool(decisions)

    def undo(self) -> str:
        """Take back what was decided last here. Returns: the tracking UID it was about; empty: nothing."""
        opened = self._may()
        decisions = opened.session.undo() if opened else []
        self._record(decisions)
        return decisions[0].tracking_uid if decisions else ""

    def _record(self, decisions: Sequence[Decision]) -> None:
        """Hand them to the journal; nothing can be signed until the edge has them."""
        if self._open is not None and decisions:
            for decision in decisions:
                self._open.recorder.record(decision)
            self.show()

    def is_unsent(self, tracking_uid: str) -> bool:
        """Whether the edge does not know of a decision on this finding."""
        return self._open is not None and self._open.session.is_unsent(tracking_uid)

    def take_over(self) -> None:
        """From another reader's hands, after they were asked."""
        opened = self._open
        if opened is None:
            return
        opened.recorder.try_again(take_over=True)
        if not opened.session.unsent:
            job_id = opened.result.job.job_id
            self._desk.ask(lambda edge: edge.hold(job_id, take_over=True), lambda review: self._taken(review, ()))

    def try_again(self) -> None:
        """Send what is pending, after trouble."""
        if self._open is not None:
            self._open.recorder.try_again()

    def give_up(self) -> None:
        """Forget what was decided here and not sent."""
        if self._open is not None:
            try:
                self._open.session.gone(self._open.recorder.give_up("given up by the reader"))
            except OSError as error:
                self._desk.fail(error)
            self.show()

    def reload(self) -> None:
        """Ask the edge what was decided."""
        if self._open is not None:
            job_id = self._open.result.job.job_id
            self._desk.ask(lambda edge: edge.review(job_id), lambda review: self._taken(review, ()))

    def sign(self, *, undecided_ok: bool) -> None:
        """Sign what is on the screen. It is signed when the state says so."""
        opened = self._may()
        if opened is None or not self._desk.state.sign.enabled:
            return
        result, version, settings = opened.result, opened.session.document.version, self._desk.settings
        signer = Signer(settings.reader, settings.organization, settings.reader_id)
        self._desk.change(sign=panel_state.Action(say("Signing…"), enabled=False))
        self._desk.ask(
            lambda edge: signed(edge, result, version, signer, undecided_ok=undecided_ok),
            lambda review: self._taken(review, ()),
            self._not_signed,
        )

    def show(self) -> None:
        """Put the review on the screen."""
        opened = self._open
        if opened is None:
            return
        session = opened.session
        document, total = session.document, len(opened.result.findings)
        phase = Phase.REVIEWING if session.began_here or session.unsent else Phase.FINDINGS
        if document.state is ReviewState.SIGNED:
            phase = Phase.SIGNED
        held = self._held_by(document)
        view = ReviewView(
            decided=total - len(session.undecided()),
            total=total,
            unsent=session.unsent,
            can_undo=session.can_undo,
            holder=say("{who} is reviewing this study.", who=held) if held else "",
            signed=_signed_sentence(document.signed),
            superseded=document.superseded,
        )
        self._desk.change(phase=phase, review=view, sign=self._sign_action(session))
        self._refresh()

    def _sign_action(self, session: ReviewSession) -> panel_state.Action:
        label = say("Sign…")
        if why := self.why_not():
            return panel_state.Action(label, enabled=False, why_not=why)
        if not self._desk.settings.organization:
            return panel_state.Action(label, enabled=False, why_not=say("Set your organization first."))
        if session.unsent:
            waits = say_n(
                "{n} decision is not at the edge yet.", "{n} decisions are not at the edge yet.", session.unsent
            )
            return panel_state.Action(label, enabled=False, why_not=waits)
        return panel_state.Action(label)

    def _may(self) -> _Open | None:
        """The open review if something can be decided; else a card that says why not."""
        if not (why := self.why_not()):
            return self._open
        actions: tuple[CardAction, ...] = () if self._desk.settings.reader else (CardAction.SETTINGS,)
        held = self._held_by(self._open.session.document) if self._open else ""
        actions = (CardAction.TAKE_OVER, CardAction.RELOAD) if held else actions
        self._desk.show(Card(say("Nothing can be decided now."), why, "", actions))
        return None

    def _holds(self, document: ReviewDocument) -> bool:
        """Whether the review is in this reader's hands."""
        holder, here = document.holder, self._desk.settings.reader
        return holder is not None and holder.reader == here and document.state is not ReviewState.SIGNED

    def _held_by(self, document: ReviewDocument) -> str:
        """Who else holds the review."""
        holder: Holder | None = document.holder
        return person_name(holder.reader) if holder and holder.reader != self._desk.settings.reader else ""

    def _opened(self, pending: tuple[Decision, ...]) -> None:
        self._ready = True
        if self._busy is not None and self._desk.state.card == self._busy:
            self._desk.show(None)  # the other window has closed
        for decision in pending:
            self._open.session.recorded(decision)  # type: ignore[union-attr]
        self.show()
        if pending and self._open is not None and self._open.session.document.superseded:
            what = say_n(
                "{n} decision was made here before this study was read again.",
                "{n} decisions were made here before this study was read again.",
                len(pending),
            )
            todo = say("They were not sent and will not be. Decide on the newer read.")
            self._desk.show(Card(what, todo, f"job: {self._open.owner.job_id}", (CardAction.GIVE_UP_UNSENT,)))

    def _recorded(self, decision: Decision) -> None:
        self._open.session.recorded(decision)  # type: ignore[union-attr]
        self.show()

    def _taken(self, review: ReviewDocument, ids: tuple[str, ...]) -> None:
        if self._open is None:
            return
        self._open.session.confirmed(review, ids)
        if self._desk.state.card is not None and not self._open.session.unsent:
            self._desk.show(None)
        self.show()

    def _refused(self, decision: Decision, error: Exception) -> None:
        self._open.session.gone([decision.id])  # type: ignore[union-attr]
        self.show()
        self._desk.fail(error)

    def _trouble(self, error: Exception) -> None:
        if not (isinstance(error, EdgeError) and error.retry):
            self._desk.fail(error)
        if isinstance(error, JournalBusy):
            self._busy = self._desk.state.card
        if isinstance(error, HeldByAnother):
            self.reload_quietly()
        self.show()

    def reload_quietly(self) -> None:
        """Ask who holds the review; the card that says so stays."""
        opened = self._open
        if opened is None:
            return

        def came(review: ReviewDocument) -> None:
            opened.session.confirmed(review, ())
            self.show()

        job_id = opened.result.job.job_id
        self._desk.ask(lambda edge: edge.review(job_id), came, lambda _: None)

    def _not_signed(self, error: Exception) -> None:
        self._desk.show(card_of(error, self._desk.settings.url))
        self.reload_quietly()
        self.show()

    def _warn_of_others(self, owner: Owner) -> None:
        """Decisions that were made here when this read was another patient's: they are not sent, and that is said."""
        for other, n in unfinished(self._desk.folder.journals):
            if (other.edge, other.job_id) == (owner.edge, owner.job_id) and other.patient != owner.patient:
                what = say_n(
                    "{n} decision was made here when this study was another patient's.",
                    "{n} decisions were made here when this study was another patient's.",
                    n,
                )
                todo = say("They were not sent and will not be. Decide on what you see now.")
                self._desk.show(Card(what, todo, f"job: {owner.job_id}\njournal: {other.file_name}"))


def signed(edge: Edge, result: Result, version: int, signer: Signer, *, undecided_ok: bool) -> ReviewDocument:
    """Sign, and see what the edge has now. Raises: ``EdgeError``.

    An answer that was lost is asked for again under the same id: that is one sign-off.
    """
    edge.hold(result.job.job_id)
    edge.sign(result, version, signer, str(uuid.uuid4()), undecided_ok=undecided_ok)
    return edge.review(result.job.job_id)


def _signed_sentence(by: Signed | None) -> Sentence:
    if by is None:
        return ""
    return say("Signed by {who}, {time}.", who=person_name(by.reader), time=clock_time(by.signed_at))
