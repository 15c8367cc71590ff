"""Numbers of things in sentences."""

from __future__ import annotations


def number_of(count: int, one: str, several: str = "") -> str:
    """``1 object`` and ``2 objects``; ``several`` where that is not ``one`` with an s, e.g. ``objects are``."""
    return f"{count} {one if count == 1 else several or one + 's'}"
