"""Files that are either there whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wetread.errors import CacheUnavailable, Misconfigured

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it and put it in place; the folder is made if needed.

    After a power cut there is the old file or the new one, never a part of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
        if os.name != "nt":  # Windows cannot open a folder
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def translated(folder: Path, what: str) -> Iterator[None]:
    """Say in a sentence that ``what``, which lies in ``folder``, cannot be written.

    Raises: ``Misconfigured`` where that is for ever (rights, read-only), ``CacheUnavailable`` for a full disk.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise CacheUnavailable(f"{what} {folder} cannot be written: {exc.strerror}; make room there") from exc
        if exc.errno in _NOT_OURS:
            raise Misconfigured(f"{what} {folder} cannot be written: {exc.strerror} ({exc.filename})") from exc
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
