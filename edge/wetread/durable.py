"""Files and folders that outlive a power cut: content is synced before a name is given, and names by their folder.

``fsync`` of a file says nothing about its name, and a new folder is itself only a name in its parent (fsync(2)).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a folder and its missing parents, each of them durable. One that exists was made so before."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode=mode)
    folder.mkdir(mode=mode, exist_ok=True)
    sync_folder(folder.parent)


def make_folders(folders: Iterable[Path], *, mode: int = 0o700) -> None:
    """``make_folder`` for many at one time: what they are made in is synced once."""
    missing = [folder for folder in folders if not folder.is_dir()]
    parents = {folder.parent for folder in missing}
    for parent in parents:
        make_folder(parent, mode=mode)
    for folder in missing:
        folder.mkdir(mode=mode, exist_ok=True)
    for parent in parents:
        sync_folder(parent)


def sync_folder(folder: Path) -> None:
    """Make new names, renames and removals in ``folder`` durable."""
    if os.name != "nt":  # Windows cannot open a folder
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    _sync(path, os.O_RDONLY)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it and put it in place; the folder is made if needed.

    After a power cut there is the old file or the new one, never a part of it. Only its owner may read it.
    """
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
