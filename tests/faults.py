"""Trouble for a running service, made from outside and taken away again: processes that stand still, disks that refuse.

Everything works without privileges, on the processes of this user.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_WORKER_NICE = 5


def descendants(pid: int) -> list[int]:
    """Processes this one started, and those they started."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it has ended
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def workers(pid: int) -> list[int]:
    """Those of the service's processes that gave way to the listeners; proc(5), field 19 of stat."""
    return [child for child in descendants(pid) if _nice(child) == _WORKER_NICE]


def others(pid: int) -> list[int]:
    """The service's processes that are neither the coordinator nor a worker: the listeners, above all."""
    return [child for child in descendants(pid) if _nice(child) not in (_WORKER_NICE, None)]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """One process stands still, its children do not."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it was killed
            os.kill(pid, signal.SIGCONT)


@contextmanager
def no_writes(pids: Iterable[int]) -> Iterator[None]:
    """Every write of these processes to a file fails (setrlimit(2), RLIMIT_FSIZE): for them the storage is away.

    Folders can still be made and files renamed. Processes started meanwhile inherit the limit, and are freed with them.
    """
    limited = list(pids)
    try:
        for pid in limited:
            _limit_file_size(pid, 0)
        yield
    finally:
        for pid in limited:
            for one in (pid, *descendants(pid)):
                with suppress(ProcessLookupError):
                    _limit_file_size(one, resource.RLIM_INFINITY)


def _limit_file_size(pid: int, soft: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if soft == resource.RLIM_INFINITY else soft, hard))


def _nice(pid: int) -> int | None:
    try:
        _, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return None
    return int(rest.split()[16])
