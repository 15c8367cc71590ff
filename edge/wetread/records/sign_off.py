"""What a person vouches for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from wetread.records.result import FindingSummary


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed, for whom, when."""

    sign_off_id: str
    """UUID; the UIDs of the signed reports derive from it."""
    reader: str
    """PN, ``Family^Given``."""
    organization: str
    reader_id: str
    """What the organization calls the reader; may be empty."""
    signed_at: datetime
    """Aware, UTC."""


@dataclass(frozen=True, slots=True)
class ReviewedFinding:
    """A finding and what the reader made of it."""

    finding: FindingSummary
    is_accepted: bool
    comment: str
