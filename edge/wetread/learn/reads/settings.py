"""``[learning]``: whether this site's signed reads may be learned from. Off unless it says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class LearningSettings:
    """``[learning]``."""

    signed_reads: bool = False
    """Whether the signed reads of the whole site may be exported to learn from; ``learn`` of a route says it of that
    route alone."""
    films_that_do_not_say: Literal["refuse", "take"] = "refuse"
    """Films without Burned In Annotation (0028,0301): names may stand in the picture, and nobody looks. ``take`` only
    where this site's machines never burn them in."""
