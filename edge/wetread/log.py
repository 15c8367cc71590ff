"""Logging: a sentence, an action word, and nothing about the patient.

pynetdicom, pydicom and highdicom print attribute values (names, UIDs) in their messages and warnings. Libraries are
heard only from ERROR upwards and without their text, so that no patient data reaches a log file.
"""

from __future__ import annotations

import logging
import sys


class _OnlyOurs(logging.Filter):
    """Let our own records pass; of a library keep that something went wrong, drop the values it wants to print."""

    def __init__(self, libraries_from: int) -> None:
        super().__init__()
        self._libraries_from = libraries_from

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("wetread"):
            return True
        if record.levelno < self._libraries_from:
            return False
        record.msg = f"{record.levelname.lower()} in {record.funcName} (values withheld)"
        record.args = ()
        record.exc_info = None
        record.exc_text = None
        return True


def configure() -> None:
    """Log to stderr; called once by each process of the service, before it starts work."""
    _configure(logging.INFO, libraries_from=logging.ERROR)


def configure_for_command() -> None:
    """A command speaks to a person: it says what went wrong itself, libraries are silent."""
    _configure(logging.ERROR, libraries_from=logging.CRITICAL)


def _configure(level: int, *, libraries_from: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_OnlyOurs(libraries_from))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
