"""Logging: a sentence, an action word, and nothing about the patient.

pynetdicom, pydicom and highdicom print attribute values (names, UIDs) in their messages and warnings. Libraries are
heard only when they cannot go on (CRITICAL) and without their text, so that no patient data reaches a log file; what
went wrong with them we say ourselves.
"""

from __future__ import annotations

import logging
import sys


class _OnlyOurs(logging.Filter):
    """Let our own records pass; of a library keep that it gave up, drop the values it wants to print."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("wetread"):
            return True
        if record.levelno < logging.CRITICAL:
            return False
        record.msg = f"{record.levelname.lower()} in {record.funcName} (values withheld)"
        record.args = ()
        record.exc_info = None
        record.exc_text = None
        return True


def configure() -> None:
    """Log to stderr; called once by each process of the service, before it starts work."""
    _configure(logging.INFO)


def configure_for_command() -> None:
    """A command speaks to a person and says itself what went wrong: only our errors are logged."""
    _configure(logging.ERROR)


def _configure(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_OnlyOurs())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
