"""TensorRT and TensorRT-RTX: one library under two names. What differs between them and their versions stands here.

| | TensorRT 10 | TensorRT 11 | TensorRT-RTX |
|---|---|---|---|
| types come from the graph | with the flag ``STRONGLY_TYPED`` | always, the flag is accepted | as 11 |
| builds for a GPU that is not there | no | no | yes |
| CUDA graph | captured by us | captured by us | by its own strategy |
"""

from __future__ import annotations

import functools
import importlib
from collections import deque
from dataclasses import dataclass
from typing import Any

from wetread.errors import EngineUnavailable
from wetread.extras import how_to_install

_OLDEST = 10


@dataclass(frozen=True, slots=True)
class Library:
    """Which of the two."""

    engine: str
    """Our name for it, also its package and our extra."""
    module: str
    ahead_of_time: bool
    """Whether it builds for a GPU that is not in this machine."""

    def load(self) -> Any:
        """The module. Raises: ``EngineUnavailable``, saying what to install."""
        try:
            trt = importlib.import_module(self.module)
        except ModuleNotFoundError as exc:
            raise EngineUnavailable(
                f"the package {self.engine} is not installed; {how_to_install(self.engine)}"
            ) from exc
        except (ImportError, OSError, RuntimeError) as exc:
            raise EngineUnavailable(
                f"the package {self.engine} cannot be loaded ({exc}); {how_to_install(self.engine)}"
            ) from exc
        if not self.ahead_of_time and int(trt.__version__.split(".")[0]) < _OLDEST:
            raise EngineUnavailable(f"TensorRT {trt.__version__} is too old; {_OLDEST} or newer is needed")
        return trt

    def check_target(self, sm: str) -> None:
        """Refuse a GPU that it cannot build for when that GPU is not here. Raises: ``EngineUnavailable``."""
        if not self.ahead_of_time:
            raise EngineUnavailable(
                f"{self.engine} builds only on the GPU it is to run on; tensorrt-rtx builds ahead of time"
            )
        capability(self.load(), sm)

    def targets(self) -> list[str]:
        """The GPUs it builds for, e.g. ``sm89``. Raises: ``EngineUnavailable``."""
        return _targets(self.load())

    def version(self) -> str:
        """Its version, e.g. ``11.4.0.106``. Raises: ``EngineUnavailable``."""
        return str(self.load().__version__)


def capability(trt: Any, sm: str) -> Any:
    """The library's name for ``sm89``. Raises: ``EngineUnavailable`` with those it knows."""
    if sm not in _targets(trt):
        names = ", ".join(_targets(trt))
        raise EngineUnavailable(f"{trt.__name__} {trt.__version__} does not build for {sm!r}; it does for {names}")
    return getattr(trt.ComputeCapability, sm.upper())


def _targets(trt: Any) -> list[str]:
    known = [n for n in dir(trt.ComputeCapability) if n.startswith("SM")]
    return [n.lower() for n in sorted(known, key=lambda n: int(n[2:]))]


TENSORRT = Library("tensorrt", "tensorrt", ahead_of_time=False)
TENSORRT_RTX = Library("tensorrt-rtx", "tensorrt_rtx", ahead_of_time=True)


@functools.cache
def logger(trt: Any) -> Any:
    """The one logger of the library in this process; ``lines`` holds its last errors.

    Kept for ever: the library remembers the first logger it was given.
    """

    class ErrorLog(trt.ILogger):  # the base is known only at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: deque[str] = deque(maxlen=5)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.lines.append(message)

    return ErrorLog()


def said(trt: Any) -> str:
    """The library's last errors, which are then forgotten."""
    lines = logger(trt).lines
    text = " / ".join(lines) or "the library gave no reason"
    lines.clear()
    return text
