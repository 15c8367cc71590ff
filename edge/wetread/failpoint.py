"""Named places at which a test lets a process die as in a power cut: no clean-up, no last word.

Armed by files: ``WETREAD_FAILPOINTS`` names a folder, and the first process that comes to ``failpoint("job.claimed")``
while there is a file ``job.claimed`` in it removes the file and dies. Unset, as outside of tests, nothing happens.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

POINTS = (
    "instance.written",
    "instance.kept",
    "instance.indexed",
    "instance.moved",
    "study.complete",
    "study.routed",
    "job.claimed",
    "job.read",
    "job.reported",
    "job.done",
    "result.sent",
    "result.delivered",
)
"""In the order of the data's way; a test arms each of them."""
REVIEW_POINTS = ("review.decided", "review.encoded", "review.signed")
"""Of a review: a decision is on disk and not yet answered, a report is written and not yet signed, it is signed."""

_ARMED = os.environ.get("WETREAD_FAILPOINTS", "")


def failpoint(name: str) -> None:
    """Die here, if a test wants it."""
    if not _ARMED:
        return
    try:
        (Path(_ARMED) / name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
