"""What can go wrong between the panel and the edge; ``cards.py`` says each as a card.

::

    EdgeError
    ├── Unreachable          nobody answers; tried again
    │   └── Interrupted      the connection broke in the middle of an answer
    ├── CertificateRefused   the edge's certificate is not one we trust
    ├── TokenRefused         401
    ├── WrongVersion         it speaks a newer interface than this program
    ├── NotAnEdge            something answers there that is no Wetread
    ├── AnswerInvalid        an answer that breaks the contract
    └── Problem              a problem document (RFC 9457)
        ├── NotHere          404
        ├── HeldByAnother    409 with the holder of the review
        ├── Conflict         409: signed already, superseded, no result yet
        ├── ChangedMeanwhile 412
        ├── NotAcceptable    other 4xx
        └── Busy             429 or 5xx; tried again, after ``retry_after_s``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


class EdgeError(Exception):
    """The message is a sentence for a person, in English: what was got, what was expected, where."""

    retry = False
    """Whether the same call may succeed a moment later."""

    @property
    def code(self) -> str:
        """A stable word: ``CertificateRefused`` is ``certificate-refused``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__).lower()


class Unreachable(EdgeError):
    """Nobody answers at the address."""

    retry = True


class AddressInvalid(Unreachable):
    """What was given is no address at all: trying again does not help."""

    retry = False


class Interrupted(Unreachable):
    """The connection broke before the answer was whole."""


class CertificateRefused(EdgeError):
    """The edge's certificate is not signed by an authority we trust, or is somebody else's."""


class TokenRefused(EdgeError):
    """The edge does not know the token."""


class WrongVersion(EdgeError):
    """The edge speaks a newer interface than this program."""

    def __init__(self, message: str, *, theirs: str) -> None:
        """``theirs``: the version of Wetread that answered."""
        super().__init__(message)
        self.theirs = theirs


class NotAnEdge(EdgeError):
    """Something answers at the address that is no Wetread edge."""


class AnswerInvalid(EdgeError):
    """An answer breaks the contract (``packaging/docs/API.md``)."""


class Problem(EdgeError):
    """The edge said no, and why."""

    def __init__(self, status: int, document: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        """``document``: the problem document, or what could be made of the answer."""
        self.status = status
        self.title = str(document.get("title") or "")
        self.detail = str(document.get("detail") or self.title or f"HTTP status {status}")
        self.kind = str(document.get("type") or "").rpartition(":")[2]
        """The last part of ``urn:wetread:problem:<code>``."""
        self.fields = dict(document)
        self.retry_after_s = retry_after_s
        super().__init__(self.detail)


class NotHere(Problem):
    """The edge does not have it."""


class HeldByAnother(Problem):
    """Another reader holds the review."""

    @property
    def holder(self) -> str:
        """Who, as DICOM PN."""
        return str((self.fields.get("holder") or {}).get("reader") or "")

    @property
    def since(self) -> str:
        """ISO 8601."""
        return str((self.fields.get("holder") or {}).get("since") or "")


class Conflict(Problem):
    """What was asked does not go with the state things are in."""


class ChangedMeanwhile(Problem):
    """The review is not the one that was seen when this was asked."""


class NotAcceptable(Problem):
    """The edge refuses this for a reason that will not go away by itself."""


class Busy(Problem):
    """The edge cannot now: starting, draining, disk full."""

    retry = True


def problem(status: int, document: Mapping[str, Any], retry_after_s: float | None = None) -> EdgeError:
    """The error of the class that the status asks for."""
    if status == 401:
        return TokenRefused(str(document.get("detail") or "the edge does not know this token"))
    classes: dict[int, type[Problem]] = {404: NotHere, 409: Conflict, 412: ChangedMeanwhile, 429: Busy}
    kind = classes.get(status, Busy if status >= 500 else NotAcceptable)
    if status == 409 and isinstance(document.get("holder"), Mapping):
        kind = HeldByAnother
    return kind(status, document, retry_after_s)
