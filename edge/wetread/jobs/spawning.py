"""Start child processes that a Ctrl-C in the terminal does not reach: the parent decides when they end."""

from __future__ import annotations

import signal
import threading
from multiprocessing.context import SpawnProcess


def start_shielded(process: SpawnProcess) -> None:
    """Start ``process`` with SIGINT ignored from its first instruction on.

    Ctrl-C goes to all processes of the terminal's group; a child that is still importing would print a traceback. A
    disposition to ignore is inherited over exec (POSIX). Only the main thread may change it; elsewhere the child is
    started as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        process.start()
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
