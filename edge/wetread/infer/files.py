"""What cannot be written, in a sentence."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wetread.errors import CacheUnavailable, Misconfigured

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


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
