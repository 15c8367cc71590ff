"""What went wrong, as a card: what happened, what to do, and details to copy for whoever helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from wetread import __version__
from wetread.review.decisions import DecisionRefused
from wetread_desktop.client.errors import (
    AnswerInvalid,
    Busy,
    CertificateRefused,
    ChangedMeanwhile,
    Conflict,
    HeldByAnother,
    Interrupted,
    NotAcceptable,
    NotAnEdge,
    NotHere,
    TokenRefused,
    Unreachable,
    WrongVersion,
)
from wetread_desktop.client.journal import JournalBroken, JournalBusy
from wetread_desktop.client.wording import clock_time, person_name
from wetread_desktop.client.words import Sentence, say
from wetread_desktop.host import CannotShow


class CardAction(StrEnum):
    """What a card offers."""

    RETRY = "retry"
    SETTINGS = "settings"
    TAKE_OVER = "take_over"
    GIVE_UP_UNSENT = "give_up_unsent"
    RELOAD = "reload"
    """Ask the edge again for what is on the screen."""
    READ_OUTSIDE = "read_outside"
    """Ask whether to read what the bundle was not made for; the window's."""


@dataclass(frozen=True, slots=True)
class Card:
    """One thing that went wrong, or that must be known."""

    what: Sentence
    todo: Sentence
    details: str
    """For whoever helps; no patient."""
    actions: tuple[CardAction, ...] = ()
    is_failure: bool = True
    """Something went wrong; else it is what it should be, and has to be known."""


def card_of(error: Exception, edge_url: str = "") -> Card:
    """The card for an error."""
    for kind, make in _CARDS:
        if isinstance(error, kind):
            what, todo, actions = make(error)
            return Card(what, todo, _details(error, edge_url), actions)
    what = say("Something in this program went wrong.")
    return Card(what, say("Copy the details for whoever looks after Wetread here."), _details(error, edge_url))


_Parts = tuple[Sentence, Sentence, tuple[CardAction, ...]]


def _unreachable(error: Exception) -> _Parts:
    todo = say("Is the address right and the edge switched on? What you decided is kept here and sent when it answers.")
    return say("The edge does not answer."), todo, (CardAction.RETRY, CardAction.SETTINGS)


def _interrupted(error: Exception) -> _Parts:
    todo = say("Try again. What you decided is kept here and sent when the edge answers.")
    return say("The connection to the edge broke."), todo, (CardAction.RETRY,)


def _certificate(error: Exception) -> _Parts:
    todo = say(
        "Nothing was sent. Ask whoever looks after the edge for the certificate of its authority and set it, "
        "or check the address: it may be somebody else who answers."
    )
    return say("The certificate of the edge is not trusted."), todo, (CardAction.SETTINGS, CardAction.RETRY)


def _token(error: Exception) -> _Parts:
    todo = say("Ask whoever looks after the edge for the token and set it.")
    return say("The edge does not know this workstation's token."), todo, (CardAction.SETTINGS,)


def _version(error: Exception) -> _Parts:
    theirs = error.theirs if isinstance(error, WrongVersion) else ""
    what = say(
        "The edge runs Wetread {theirs}; this program is {ours} and too old for it.", theirs=theirs, ours=__version__
    )
    return what, say("Have this program updated."), (CardAction.RETRY,)


def _no_edge(error: Exception) -> _Parts:
    todo = say("Check the address, the port, and whether it begins with http:// or https://.")
    return say("Something else than a Wetread edge answers at this address."), todo, (CardAction.SETTINGS,)


def _invalid(error: Exception) -> _Parts:
    todo = say("Nothing of it is shown. Copy the details for whoever looks after Wetread here.")
    return say("The edge gave an answer that this program does not understand."), todo, (CardAction.RETRY,)


def _not_here(error: Exception) -> _Parts:
    todo = say("It may have been erased, or never sent there. Send the study again, or look for it in the list.")
    return say("The edge does not have this: {why}", why=str(error)), todo, (CardAction.RELOAD,)


def _held(error: Exception) -> _Parts:
    held = error if isinstance(error, HeldByAnother) else None
    who = person_name(held.holder) if held else ""
    since = clock_time(held.since) if held else ""
    todo = say("Speak with them, or take the review over. What you decided is kept here and not sent.")
    actions = (CardAction.TAKE_OVER, CardAction.GIVE_UP_UNSENT, CardAction.RELOAD)
    return say("{who} has been reviewing this study since {since}.", who=who, since=since), todo, actions


def _changed(error: Exception) -> _Parts:
    todo = say("Look at the findings again; then sign.")
    return say("The review changed while you were about to sign. Nothing was signed."), todo, (CardAction.RELOAD,)


def _conflict(error: Exception) -> _Parts:
    return say("The edge refuses: {why}", why=str(error)), say("See what the edge has now."), (CardAction.RELOAD,)


def _refused(error: Exception) -> _Parts:
    return say("The edge does not accept this: {why}", why=str(error)), say("Nothing was changed."), ()


def _busy(error: Exception) -> _Parts:
    todo = say("It is tried again by itself; what you decided is kept here.")
    return say("The edge cannot do this now: {why}", why=str(error)), todo, (CardAction.RETRY,)


def _decision(error: Exception) -> _Parts:
    return say("This cannot be decided: {why}", why=str(error)), say("Nothing was changed."), ()


def _journal_busy(error: Exception) -> _Parts:
    todo = say("Go on in that window, or close it and try again here.")
    return say("Another window on this computer reviews the same read."), todo, (CardAction.RETRY,)


def _journal(error: Exception) -> _Parts:
    todo = say("Nothing is shown as decided that could be lost. Make room on the disk or have the folder looked at.")
    return say("Decisions cannot be kept on this computer: {why}", why=str(error)), todo, (CardAction.RETRY,)


def _cannot_show(error: Exception) -> _Parts:
    todo = say("The finding stays in the list; its slice is named there.")
    return say("The viewer cannot show this truly: {why}", why=str(error)), todo, ()


_CARDS: tuple[tuple[type[Exception], Callable[[Exception], _Parts]], ...] = (
    (Interrupted, _interrupted),
    (Unreachable, _unreachable),
    (CertificateRefused, _certificate),
    (TokenRefused, _token),
    (WrongVersion, _version),
    (NotAnEdge, _no_edge),
    (AnswerInvalid, _invalid),
    (NotHere, _not_here),
    (HeldByAnother, _held),
    (ChangedMeanwhile, _changed),
    (Conflict, _conflict),
    (NotAcceptable, _refused),
    (Busy, _busy),
    (DecisionRefused, _decision),
    (JournalBusy, _journal_busy),
    (JournalBroken, _journal),
    (OSError, _journal),
    (CannotShow, _cannot_show),
)


def _details(error: Exception, edge_url: str) -> str:
    code = getattr(error, "code", type(error).__name__)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return "\n".join(
        (f"{now} wetread-desk {__version__}", f"edge: {edge_url or 'none'}", f"code: {code}", f"message: {error}")
    )
