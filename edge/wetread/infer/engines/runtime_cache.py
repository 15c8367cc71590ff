"""Kernels that TensorRT-RTX compiled while an engine ran, kept beside the engine for the next start.

An RTX engine holds no kernels: the library makes them on the GPU when a shape first runs, which takes seconds. What it
gives for keeping it checks itself against GPU, driver and library, and rejects on any difference.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from wetread.durable import write_atomically

logger = logging.getLogger(__name__)

RUNTIME_CACHE = "runtime.cache"


class RuntimeCache:
    """The cache of one context, read when it is made and written when there is more in it."""

    def __init__(self, config: Any, path: Path) -> None:
        """Put the kept kernels into a runtime configuration (``IRuntimeConfig``), if they are of this machine."""
        self._path = path
        self._cache = config.create_runtime_cache()
        self._kept = self._content()
        if self._kept and not self._cache.deserialize(self._kept):
            self._kept = b""  # of another driver or GPU: the library takes none of it, new ones take its place
        config.set_runtime_cache(self._cache)

    def keep(self) -> None:
        """Write what was compiled since; a cache folder that cannot be written costs time at the next start only."""
        made = self._cache.serialize()
        content = b"" if made is None else bytes(made)
        if not content or content == self._kept:
            return
        try:
            write_atomically(self._path, lambda target: target.write_bytes(content))
            self._kept = content
        except OSError as exc:
            logger.warning("compiled kernels cannot be kept in %s: %s", self._path.parent, exc.strerror)

    def _content(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError:
            return b""
