"""Who may write a data folder: locks that go with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from wetread.durable import make_folder
from wetread.errors import Misconfigured


def own(data_dir: Path) -> IO[str]:
    """Take the data folder for this process until the file is closed.

    Raises: ``Misconfigured`` when another process has it, or it cannot be made.
    """
    try:
        make_folder(data_dir)
        lock = (data_dir / "lock").open("a+")
    except OSError as exc:
        raise Misconfigured(f"the data folder {data_dir} cannot be used: {exc.strerror}; see data_dir") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        lock.close()
        raise Misconfigured(f"another wetread serve (process {owner_of(data_dir)}) is using {data_dir}") from exc
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def owner_of(data_dir: Path) -> int | None:
    """Process id of the service that has the data folder, or None when none runs."""
    try:
        with (data_dir / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0)
    except FileNotFoundError:
        pass
    return None


def await_listeners(data_dir: Path) -> None:
    """Wait until the listeners of a coordinator that was killed have ended: they hold the port for a moment longer."""
    with (data_dir / "listener.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def mark_listening(data_dir: Path) -> IO[str]:
    """This process listens until the file is closed."""
    lock = (data_dir / "listener.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def process_identity() -> str:
    """Boot id and start time of this process: never the same twice, whatever the wall clock does."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # Field 22 of /proc/self/stat, counted after the command name's closing bracket (proc(5)).
    started = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
    return f"{boot}/{started}"
