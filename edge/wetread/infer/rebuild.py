"""Engines built beside the work: a process of lower priority than the worker's, one at a time on this machine.

The worker starts it and goes on reading with what is ready. It ends with the worker (its standard input closes). What
it makes is written by the same code as ever: whole or not at all, so that it may be killed at any moment.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from wetread.bundles import load_bundle
from wetread.bundles.trust import TrustPolicy
from wetread.errors import WetreadError

logger = logging.getLogger(__name__)

_NICE = 19
_KILLED_FIRST = b"1000"
"""oom_score_adj: short of memory, the kernel takes this process and not the one that reads a study (proc(5))."""
_LOCK = "building.lock"
_STARTED_WITH = ("-P", "-c", "from wetread.infer.rebuild import main; main()")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built."""

    bundle_folder: str
    bundle_digest: str
    """Other files than these are not built from."""
    engine: str
    """As the site asked for it; ``auto`` builds the best that passes the gate."""
    cache_folder: str
    threads: int
    uninstalled: str
    trusted_keys: str
    """The site's ``TrustPolicy``; empty: no keys."""
    more: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Network and shape of inputs that a study had and the golden case has not."""


class Building(Protocol):
    """A build under way, or one that ended."""

    def ended(self) -> bool:
        """Whether it has; never waits."""
        ...

    def problem(self) -> str:
        """Why it made nothing, as a sentence; empty when it ended well."""
        ...

    def stop(self) -> None:
        """End it now, whatever it is doing."""
        ...


class BuildProcess:
    """A build in a process of its own."""

    def __init__(self, order: Order) -> None:
        """Start it. Raises: ``OSError`` when this machine cannot start another process."""
        self._process = subprocess.Popen(
            [sys.executable, *_STARTED_WITH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._answer: dict[str, str] | None = None
        with suppress(OSError):  # it ended at once; its exit status says so
            self._input.write(json.dumps(asdict(order)).encode() + b"\n")
            self._input.flush()

    def ended(self) -> bool:
        """Its one line is short enough for the pipe: nobody has to read while it runs."""
        if self._answer is None and self._process.poll() is not None:
            self._answer = self._read()
        return self._answer is not None

    def problem(self) -> str:
        """What it said, or how it ended without a word."""
        return "" if self._answer is None else self._answer["problem"]

    def stop(self) -> None:
        """Kill it; half-written files are never found by anybody."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101 (for the type checker: it was asked for)
        return self._process.stdin

    def _read(self) -> dict[str, str]:
        said = self._process.stdout.read() if self._process.stdout else b""
        self.stop()
        with suppress(ValueError):
            return dict(json.loads(said.splitlines()[-1] if said else b""))
        code = self._process.returncode
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        return {"problem": f"the process that builds it ended with {ended}"}


def order_for(
    folder: Path, digest: str, *, engine: str, cache_folder: Path, threads: int, trust: TrustPolicy | None
) -> Order:
    """The order for one bundle as this site opens it."""
    policy = trust or TrustPolicy()
    keys = str(policy.trusted_keys or "")
    return Order(str(folder), digest, engine, str(cache_folder), threads, policy.uninstalled, keys)


def main() -> None:
    """The process: take the order, wait for the turn, build, say how it went."""
    answers = _own_answers()
    order = _order(json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_end_with_the_worker, daemon=True).start()
    _give_way()
    answers.write(json.dumps({"problem": _in_turn(order)}).encode() + b"\n")
    answers.flush()
    os._exit(0)  # libraries' threads are not worth waiting for


def _in_turn(order: Order) -> str:
    """One build at a time on this machine. The kernel frees the lock of a process that is gone."""
    cache = Path(order.cache_folder)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / _LOCK, "wb") as lock:
            wait_for_turn(lock)
            return _built(order)
    except OSError as exc:
        return f"the engine cache {cache} cannot be written: {exc.strerror}"


def _built(order: Order) -> str:
    """Build; what stood in the way, as a sentence."""
    folder = Path(order.bundle_folder)
    keys = Path(order.trusted_keys) if order.trusted_keys else None
    try:
        bundle = load_bundle(folder)
        if bundle.digest() != order.bundle_digest:
            return f"the files of bundle {bundle.name} have changed"
        from wetread.infer.model import open_model  # imports torch: not before it is known that there is work

        policy = TrustPolicy("refuse" if order.uninstalled == "refuse" else "checked", keys)
        model = open_model(
            bundle,
            engine=order.engine,
            cache_folder=Path(order.cache_folder),
            trust=policy,
            threads=order.threads or None,
        )
        model.load()
        for network, shape in order.more:
            model.prepare(network, tuple(shape))
    except WetreadError as exc:
        return str(exc)
    except Exception as exc:  # recorded with the next read; its text may be anything
        return f"building it ended with {type(exc).__name__}"
    return ""


def _order(content: dict[str, Any]) -> Order:
    return Order(**{**content, "more": tuple((name, tuple(shape)) for name, shape in content["more"])})


def _own_answers() -> IO[bytes]:
    """The pipe to the worker; what bundles and libraries print goes elsewhere."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _end_with_the_worker() -> None:
    # Not through sys.stdin: whatever a library forks would wait for ever for the lock that this thread holds on it.
    while os.read(0, 4096):
        pass
    os._exit(1)


def _give_way() -> None:
    with suppress(OSError, AttributeError):
        os.nice(_NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_KILLED_FIRST)


def wait_for_turn(lock: IO[bytes]) -> None:
    """Until nobody else holds the lock on this file, which is held from here on."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return
    fcntl.flock(lock, fcntl.LOCK_EX)
