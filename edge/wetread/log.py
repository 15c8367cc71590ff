"""Logging: a sentence, an action word, and nothing about the patient.

pynetdicom, pydicom and highdicom print attribute values (names, UIDs) in their messages and warnings. Their records are
kept only from ERROR upwards and lose their text, so that no patient data reaches a log file.
"""

from __future__ import annotations

import logging
import sys

_FOREIGN = ("pynetdicom", "pydicom", "highdicom", "py.warnings")


class _WithholdValues(logging.Filter):
    """Keep that something went wrong in a library, drop the values it wants to print."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_FOREIGN):
            return True
        if record.levelno < logging.ERROR:
            return False
        record.msg = f"{record.levelname.lower()} in {record.funcName} (values withheld)"
        record.args = ()
        record.exc_info = None
        record.exc_text = None
        return True


def configure(level: str = "INFO") -> None:
    """Send this process's log to stderr; called once by each process, before it starts work."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_WithholdValues())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
