"""Logging: a sentence, an action word, and nothing about the patient.

pynetdicom, pydicom and highdicom print attribute values (names, UIDs) in their messages and warnings, and quote them in
what they raise. Libraries are heard only when they cannot go on (CRITICAL) and without their text, and of an error that
nobody foresaw its class and its places are logged, so that no patient data reaches a log file; what went wrong we say
ourselves.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

logger = logging.getLogger(__name__)


class _OnlyOurs(logging.Filter):
    """Let our own records pass; of a library keep that it gave up. Values they want to print are dropped."""

    def filter(self, record: logging.LogRecord) -> bool:
        ours = record.name.startswith("wetread")
        if not ours and record.levelno < logging.CRITICAL:
            return False
        error = record.exc_info[1] if record.exc_info else None
        record.exc_info = record.exc_text = None
        if not ours:
            record.msg = f"{record.levelname.lower()} in {record.funcName} (values withheld)"
            record.args = ()
        elif error is not None:
            record.exc_text = places_of(error)
        return True


def place_of(error: BaseException) -> str:
    """Class of an error and the file and line that raised it, without its text."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
    return type(error).__name__


def places_of(error: BaseException) -> str:
    """A traceback as Python prints it, causes first, without the texts of the errors: they may quote a patient."""
    return "\n".join(
        "".join(["Traceback (values withheld):\n", *traceback.format_tb(one.__traceback__), _named(one)])
        for one in reversed(list(_causes(error)))
    )


def configure() -> None:
    """Log to stderr, also what ends a thread or the process; called once by each process of the service, before it
    starts work."""
    _configure(logging.INFO)
    sys.excepthook = _end_of_process
    threading.excepthook = _end_of_thread


def configure_for_command() -> None:
    """A command speaks to a person and says itself what went wrong: only our errors are logged."""
    _configure(logging.ERROR)


def _configure(level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_OnlyOurs())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written would print the error with its text to stderr


def _end_of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.critical("this process ends", exc_info=error)


def _end_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        logger.error("thread %s ended", args.thread.name if args.thread else "?", exc_info=args.exc_value)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from or while handling."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _named(error: BaseException) -> str:
    """Class, and the system's own word where it is an error of the system."""
    said = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
