"""What a worker gives up before it opens a bundle: the network, core dumps, new privileges, unpickling.

The second wall behind the static check: it holds for code that the allow-list let through, and for bundles somebody
vouched for. What it cannot take away (reading files of its own user, sockets in the file system) is in decision 5.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from pathlib import Path

logger = logging.getLogger(__name__)

_CLONE_NEWUSER = 0x10000000  # <linux/sched.h>
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PR_SET_NO_NEW_PRIVS = 38


def isolate() -> None:
    """Called once, at the start of a worker process, before it has threads.

    Where the system does not allow a step, a sentence in the log says so and the worker goes on.
    """
    forbid_code_in_data()
    if sys.platform != "linux":
        logger.warning("workers keep the network on %s: only Linux lets a process give it up", sys.platform)
        return
    _without_core_dumps()
    problem = _leave_network()
    if problem:
        logger.warning("this worker keeps the network, the system does not let it go: %s", problem)
    if _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        logger.warning("this worker could gain privileges (prctl: %s)", os.strerror(ctypes.get_errno()))


def end_with_parent() -> None:
    """Let the kernel kill this process when the one that started it ends, however that happens.

    A worker notices a broken pipe by itself, but not while it is in a loop in C that holds the interpreter's lock.
    To be called after ``isolate``: a change of credentials takes the order back (prctl(2)).
    """
    if sys.platform == "linux":
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def forbid_code_in_data() -> None:
    """Make every ``torch.load`` of this process and its children behave as with ``weights_only=True``.

    PyTorch reads the variable at each call; it overrides an explicit ``weights_only=False`` in a bundle's expression.
    Python files of a bundle are not compiled into its folder, where no digest would cover the result.
    """
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)  # the opposite; PyTorch refuses both together
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def _leave_network() -> str:
    """Move into a network namespace of its own, without any interface that is up; what stopped it, or nothing.

    An administrator's process can do so as it is. Any other needs a user namespace too, in which it keeps its own user
    and group; some systems forbid that (sysctl ``user.max_user_namespaces``, AppArmor on Ubuntu 24.04).
    """
    if _unshare(_CLONE_NEWNET) == 0:
        return ""
    user, group = os.geteuid(), os.getegid()
    if _unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return os.strerror(ctypes.get_errno())
    try:
        Path("/proc/self/setgroups").write_bytes(b"deny")  # user_namespaces(7): before gid_map
        Path("/proc/self/uid_map").write_bytes(b"%d %d 1" % (user, user))
        Path("/proc/self/gid_map").write_bytes(b"%d %d 1" % (group, group))
    except OSError as exc:
        # The network is gone all the same; files are still checked against the real user.
        logger.warning("this worker does not know its own user name any more: %s", exc)
    return ""


def _without_core_dumps() -> None:
    """A core file would hold the patient's pixels."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _unshare(flags: int) -> int:
    return int(_libc().unshare(flags))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
