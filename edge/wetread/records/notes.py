"""What the entrances tell the coordinator besides instances; it travels through the spool as durably as they do."""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from dataclasses import dataclass
from typing import Literal

Ended = Literal["released", "aborted", "lost"]


def new_association_id() -> str:
    """A name for an association or request; begins with the process that has it, with which it may end unseen."""
    return f"{association_prefix(os.getpid())}{uuid.uuid4().hex}"


def association_prefix(pid: int) -> str:
    """What the names of all associations of a process begin with."""
    return f"{pid}-"


@dataclass(frozen=True, slots=True)
class AssociationEnd:
    """An association that brought instances has ended: evidence that its sender has finished, or has not.

    Written after the last of its instances was kept. ``lost`` is everything but A-RELEASE and the peer's A-ABORT: the
    connection broke, or the peer was silent for too long. A listener that is killed leaves no such note.
    """

    association_id: str
    """The same as in the provenance of its instances."""
    peer: str
    """Name of the peer in our configuration."""
    ended: Ended
    instances: int
    """Instances answered with Success; sent twice, an instance counts twice."""
    ended_at: str
    """ISO 8601, UTC, milliseconds."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Somebody was turned away at the door."""

    calling: str
    """AE title; empty when the caller did not get as far as saying one."""
    called: str
    address: str
    reason: str
    """A sentence."""
    hint: str
    """What is probably wrong, if something known is nearly the same; else empty."""
    count: int
    """How often since the last note about the same caller."""
    first_at: str
    last_at: str


@dataclass(frozen=True, slots=True)
class Event:
    """A row for the timeline that belongs to no study."""

    action: str
    detail: str


Note = AssociationEnd | Refusal | Event

_KINDS: dict[str, type[Note]] = {"association_end": AssociationEnd, "refusal": Refusal, "event": Event}


def note_to_json(note: Note) -> str:
    """One line of JSON with its ``kind``."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(note, cls))
    return json.dumps({"kind": kind, **dataclasses.asdict(note)}, ensure_ascii=False)


def note_from_json(text: str) -> Note:
    """The note; those of version 0.1.0 have no kind and are events."""
    fields = json.loads(text)
    return _KINDS[fields.pop("kind", "event")](**fields)
