"""Who uses what lies in the engine cache: a mark beside each certificate, graph and engine.

The mark's time is that of the last use, its lines say for which bundles, and whoever uses the thing holds a shared lock
on it until the process ends (flock(2): the kernel lets go of it for a process that is killed).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and open files cannot be removed
    fcntl = None  # type: ignore[assignment]

MARK = "in_use"
_held: dict[Path, int] = {}
"""Marks this process holds, with their descriptors; open to the end of the process."""
_MOST = 64
"""Marks held at one time; a process that opens more bundles than that lets go of the first."""


def hold(mark: Path, *, bundle: str = "", recipe: str = "") -> None:
    """Say that the thing beside ``mark`` is used from now to the end of this process, and for which bundle (digest).

    A cache that this user may only read is used without a word.
    """
    with suppress(OSError):
        if mark not in _held or not _is(mark, _held[mark]):
            _let_go(mark)
            if len(_held) >= _MOST:
                _let_go(next(iter(_held)))
            _held[mark] = _locked(mark)
        os.utime(_held[mark])
        if bundle and (bundle, recipe) not in set(users(mark)):
            os.write(_held[mark], json.dumps({"bundle": bundle, "recipe": recipe}).encode() + b"\n")


def users(mark: Path) -> Iterator[tuple[str, str]]:
    """Bundle (digest) and recipe of each user there ever was; a line that was cut is nobody's."""
    try:
        lines = mark.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            noted = json.loads(line)
            yield str(noted["bundle"]), str(noted["recipe"])


@contextmanager
def nobody_uses(mark: Path) -> Iterator[bool]:
    """Whether no process holds the mark; while the block runs, none can take it."""
    try:
        descriptor = os.open(mark, os.O_RDWR)
    except FileNotFoundError:
        yield True
        return
    try:
        yield _locked_alone(descriptor)
    finally:
        os.close(descriptor)


def _locked(mark: Path) -> int:
    """A descriptor of the mark that is in place: one that was removed while we waited for it is made anew."""
    while True:
        descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if _is(mark, descriptor):
            return descriptor
        os.close(descriptor)


def _locked_alone(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(mark: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), mark.stat())
    except FileNotFoundError:
        return False


def _let_go(mark: Path) -> None:
    descriptor = _held.pop(mark, None)
    if descriptor is not None:
        os.close(descriptor)
