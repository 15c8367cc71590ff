"""What the edge says about a review: who holds it, what was decided, whether it is signed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from wetread.review.decisions import STATES, State
from wetread_desktop.client.errors import AnswerInvalid
from wetread_desktop.client.fields import Fields


class ReviewState(StrEnum):
    """Of the whole review."""

    OPEN = "open"
    SIGNED = "signed"


@dataclass(frozen=True, slots=True)
class Decided:
    """How far the review of one finding is."""

    tracking_uid: str
    state: State
    comment: str
    reader: str
    """Who decided last, as DICOM PN; empty before anyone did."""
    at: str
    """ISO 8601."""

    @classmethod
    def read(cls, fields: Fields) -> Decided:
        """Raises: ``AnswerInvalid``."""
        return cls(
            tracking_uid=fields.text("tracking_uid"),
            state=_state(fields),
            comment=fields.text("comment", ""),
            reader=fields.text("reader", ""),
            at=fields.text("at", ""),
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a review."""

    reader: str
    """As DICOM PN."""
    since: str
    """ISO 8601."""

    @classmethod
    def read(cls, fields: Fields) -> Holder:
        """Raises: ``AnswerInvalid``."""
        return cls(fields.text("reader"), fields.text("since", ""))


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a signed report is, or why it is not there yet."""

    destination: str
    state: str

    @classmethod
    def read(cls, fields: Fields) -> Delivery:
        """Raises: ``AnswerInvalid``."""
        return cls(fields.text("destination", ""), fields.text("state", ""))


@dataclass(frozen=True, slots=True)
class Signed:
    """The sign-off."""

    sop_instance_uid: str
    signed_at: str
    """ISO 8601."""
    reader: str
    deliveries: tuple[Delivery, ...]

    @classmethod
    def read(cls, fields: Fields) -> Signed:
        """Raises: ``AnswerInvalid``."""
        return cls(
            sop_instance_uid=fields.text("sop_instance_uid", ""),
            signed_at=fields.text("signed_at", ""),
            reader=_name(fields),
            deliveries=fields.objects("deliveries", Delivery.read) if fields.has("deliveries") else (),
        )


@dataclass(frozen=True, slots=True)
class ReviewDocument:
    """The review of one read, as it is at the edge."""

    job_id: str
    state: ReviewState
    version: int
    """A reader signs the version that was shown."""
    holder: Holder | None
    findings: tuple[Decided, ...]
    signed: Signed | None
    superseded: bool
    """The study was read again: this review is of what is not the latest any more."""

    @classmethod
    def read(cls, fields: Fields) -> ReviewDocument:
        """Raises: ``AnswerInvalid``."""
        return cls(
            job_id=fields.text("job_id"),
            state=fields.choice("state", ReviewState),
            version=fields.integer("version"),
            holder=Holder.read(fields.inside("holder")) if fields.has("holder") else None,
            findings=fields.objects("findings", Decided.read),
            signed=Signed.read(fields.inside("signed")) if fields.has("signed") else None,
            superseded=fields.flag("superseded", False),
        )


def _state(fields: Fields) -> State:
    state = fields.text("state")
    if state not in STATES:
        raise AnswerInvalid(f"{fields.where}: 'state' should be one of {', '.join(STATES)}")
    return cast(State, state)


def _name(fields: Fields) -> str:
    reader = fields.raw("reader")
    return str(reader.get("name") or "") if isinstance(reader, dict) else str(reader or "")
