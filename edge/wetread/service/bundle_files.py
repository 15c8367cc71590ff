"""Folders of bundles on disk: put in place in one step, read-only, and on the disk before anybody is told so."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wetread.durable import sync_file, sync_folder

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # <linux/fs.h>


def lock(folder: Path) -> None:
    """Files 0444, folders 0555; the top one stays writable, or it could not be moved."""
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)


def sync(folder: Path) -> None:
    """Wait until every file and folder is on the disk."""
    for path in (*folder.rglob("*"), folder):
        (sync_folder if path.is_dir() else sync_file)(path)


def place(folder: Path, target: Path, *, keep: Path | None = None) -> None:
    """Move ``folder`` to ``target``, what is there now to ``keep``. On Linux there is no moment without a bundle."""
    if keep is None:
        folder.rename(target)
    else:
        keep.parent.mkdir(exist_ok=True)
        target.chmod(0o755)
        if _exchange(folder, target):
            folder.rename(keep)
        else:
            target.rename(keep)
            folder.rename(target)
    target.chmod(0o555)
    sync_folder(target.parent)


@contextmanager
def unlocked(folder: Path) -> Iterator[None]:
    """Make the folders writable for their owner, and afterwards as they were; new files become as the folder was."""
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in (folder, *folder.rglob("*")) if p.is_dir()}
    read_only = not modes[folder] & stat.S_IWUSR
    try:
        for path, mode in modes.items():
            path.chmod(mode | stat.S_IWUSR)
        yield
    finally:
        if read_only:
            lock(folder)
        for path, mode in modes.items():
            path.chmod(mode)


def remove(folder: Path) -> None:
    """Delete a folder, read-only ones within it too."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step (renameat2); False where the system cannot."""
    if sys.platform != "linux":
        return False
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if swap is None:
        return False
    return int(swap(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)) == 0
