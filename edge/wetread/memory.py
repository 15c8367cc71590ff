"""Memory as the kernel counts it: what this machine has left, control groups included, and what a process uses."""

from __future__ import annotations

import math
import sys
from pathlib import Path

_V2, _V1 = Path("sys/fs/cgroup"), Path("sys/fs/cgroup/memory")
Group = tuple[Path, str, str]
"""Folder of a control group, and the names of its files for limit and use."""
_NO_LIMIT = 2**60
"""Bytes; version 1 writes a number near 2**63 where there is no limit."""


def available_mb(root: Path = Path("/")) -> float:
    """MB (2**20 bytes) that can still be taken without swapping; infinite on a system that does not say.

    The smallest of MemAvailable (``/proc/meminfo``) and what every control group of this process has left. File cache
    that the kernel can drop counts as free. ``root`` is where ``/proc`` and ``/sys`` are.
    """
    if not sys.platform.startswith("linux"):
        return math.inf
    free = [_meminfo(root / "proc/meminfo", "MemAvailable"), *(_left(*group) for group in _groups(root))]
    return min(free) / 2**20


def total_mb(root: Path = Path("/")) -> float:
    """MB that this process could have if nothing else ran: the machine's memory, or the smallest limit on it."""
    if not sys.platform.startswith("linux"):
        return math.inf
    limits = [
        _meminfo(root / "proc/meminfo", "MemTotal"),
        *(_limit(folder / limit) for folder, limit, _ in _groups(root)),
    ]
    return min(limits) / 2**20


def resident_mb(pid: int | None = None) -> float:
    """MB a process (default: this one) has in memory; 0 once it has ended or where the system does not say."""
    return _status_mb("VmRSS", pid)


def peak_mb() -> float:
    """Largest resident set of this process since ``restart_peak``, in MB; 0 where the system does not say.

    ``ru_maxrss`` would start with the parent's size, which Linux hands down to a new process.
    """
    return _status_mb("VmHWM", None)


def restart_peak() -> float:
    """Let the kernel's high-water mark start from the resident memory of now, which is returned in MB.

    Where that is not allowed the mark stays, and with it what was used before (proc_pid_clear_refs(5)).
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return peak_mb()
    return resident_mb()


def _status_mb(name: str, pid: int | None) -> float:
    try:
        status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    found = status.partition(f"{name}:")[2].split()  # a process that has ended and was not waited for has no such line
    return int(found[0]) / 1024 if found else 0.0


def _meminfo(path: Path, name: str) -> float:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return math.inf
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")]
    return found[0] if found else math.inf


def _groups(root: Path) -> list[Group]:
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    groups: list[Group] = []
    for _number, controllers, group in (line.split(":", 2) for line in lines):
        if controllers == "":
            groups += [(folder, "memory.max", "memory.current") for folder in _upwards(root / _V2, group)]
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes"
            groups += [(folder, *names) for folder in _upwards(root / _V1, group)]
    return groups


def _upwards(mount: Path, group: str) -> list[Path]:
    """The group's folder and those above it: each may have a limit."""
    folder = mount / group.lstrip("/")
    return [folder, *(above for above in folder.parents if above == mount or mount in above.parents)]


def _limit(path: Path) -> float:
    try:
        limit = path.read_text(encoding="ascii").strip()
    except OSError:
        return math.inf
    return math.inf if limit == "max" or int(limit) >= _NO_LIMIT else int(limit)


def _left(folder: Path, limit_name: str, used_name: str) -> float:
    limit = _limit(folder / limit_name)
    if math.isinf(limit):
        return limit
    try:
        used = int((folder / used_name).read_text(encoding="ascii"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return limit
    cache = int(stat.get("total_inactive_file", stat.get("inactive_file", "0")))
    return max(0.0, limit - used + cache)
