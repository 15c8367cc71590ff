"""Start child processes that a Ctrl-C in the terminal does not reach, and that do not inherit a lower priority."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.context import SpawnProcess


class Starter:
    """A thread that starts processes: a child inherits the priority of the thread that starts it (sched(7)).

    To be made before the thread that uses it steps back, which only root could take back.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
        self._pool.submit(threading.get_ident).result()  # now the thread is there

    def start(self, process: SpawnProcess) -> None:
        """Start it; as ``process.start()``."""
        self._pool.submit(process.start).result()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()


def start_shielded(process: SpawnProcess, starter: Starter | None = None) -> None:
    """Start ``process`` with SIGINT ignored from its first instruction on.

    Ctrl-C goes to all processes of the terminal's group; a child that is still importing would print a traceback. A
    disposition to ignore is inherited over exec (POSIX). Only the main thread may change it; elsewhere the child is
    started as it is. With ``starter`` it inherits that thread's priority.
    """
    start = process.start if starter is None else partial(starter.start, process)
    if threading.current_thread() is not threading.main_thread():
        start()
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        start()
    finally:
        signal.signal(signal.SIGINT, before)
