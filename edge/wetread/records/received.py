"""What came in: a data set as the peer sent it, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who sent an instance, how and when. Stored inside the Part 10 file, so it can never be parted from it."""

    entrance: str
    """``c-store``, ``folder``, ..."""
    peer: str
    """Name of the peer in our configuration."""
    address: str
    calling_ae_title: str
    called_ae_title: str
    association_id: str
    received_at: datetime
    """Aware, UTC."""
    priority: int = 0
    """Of the door it came through: 10 interactive, 0 normal, -10 background; the highest of a study counts."""


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """One data set, not yet stored."""

    dataset: bytes | memoryview
    """The encoded data set without File Meta Information, bit for bit as received. The memory belongs to the entrance,
    which uses it again: whoever keeps the instance writes it down before it returns."""
    sop_class_uid: str
    """Affected SOP Class UID of the request."""
    sop_instance_uid: str
    """Affected SOP Instance UID of the request: the peer's words, not to be trusted."""
    transfer_syntax_uid: str
    provenance: Provenance
