"""Processes of ``infer.rebuild`` that need not import torch each: forked from one that has, and has computed nothing.

A real process with its own pid, priority and pipes, as ``subprocess.Popen`` would start it; only the start of Python is
shared. ``tests/unit/test_infer_standby.py`` starts cold ones too.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.connection import Connection
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["wetread.infer.model", "wetread.infer.rebuild"])


class WarmPopen:
    """What ``BuildProcess`` uses of ``subprocess.Popen``."""

    def __init__(self, _command: list[str], **_pipes: Any) -> None:
        orders, ours = _CONTEXT.Pipe(duplex=False)
        answers, theirs = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_main, args=(orders, theirs), daemon=True)
        self._process.start()
        orders.close()
        theirs.close()
        self.stdin = os.fdopen(os.dup(ours.fileno()), "wb")
        self.stdout = os.fdopen(os.dup(answers.fileno()), "rb")
        ours.close()
        answers.close()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.join()


def _main(orders: Connection, answers: Connection) -> None:
    from wetread.infer.rebuild import main

    for end, number in ((orders, 0), (answers, 1)):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin = os.fdopen(0)  # multiprocessing gives its processes another
    main()
