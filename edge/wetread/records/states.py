"""What studies and jobs can be, as lists show it and are filtered by."""

from __future__ import annotations

STUDY_STATES = (
    "receiving",
    "held",
    "complete",
    "waiting",
    "reading",
    "failed",
    "result held",
    "delivering",
    "read",
    "rejected",
    "cancelled",
    "not read",
)
"""What ``study_status`` can say, in the order of a study's way."""
JOB_STATES = ("waiting", "running", "done", "rejected", "failed", "cancelled")
