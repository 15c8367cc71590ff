"""Where engines and their certificates are kept: in the service's data folder, or in this user's own cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wetread.config import Config
from wetread.infer.gate.certificate import CERTIFICATE


@dataclass(frozen=True, slots=True)
class EngineCache:
    """One folder, and why it is the one."""

    folder: Path
    why: str
    """E.g. ``of wetread serve``."""

    def __str__(self) -> str:
        return f"{self.folder} ({self.why})"

    def certificates(self) -> int:
        """How many engines were proved in it, for whatever bundle."""
        return sum(1 for _ in self.folder.glob(f"*/{CERTIFICATE}"))


def service_cache(config: Config) -> EngineCache:
    """The one that ``wetread serve`` reads and writes."""
    return EngineCache(config.engine_cache or config.data_dir / "engines", "of wetread serve")


def user_cache(why: str) -> EngineCache:
    """This user's own (https://specifications.freedesktop.org/basedir-spec); the service never looks into it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return EngineCache(Path(base) / "wetread" / "engines", f"of this user, {why}")


def caches_beside(config: Config) -> tuple[EngineCache, ...]:
    """Others on this machine that commands of this user, or its private service, may have filled."""
    shared = service_cache(config)
    before = EngineCache(private_data() / "engines", "of an earlier wetread serve --private")
    beside = (cache_of_commands(config), user_cache("used by commands without this configuration"), before)
    return tuple({c.folder: c for c in reversed(beside) if c.folder != shared.folder}.values())


def private_data() -> Path:
    """The data folder of ``wetread serve --private``."""
    return Path.home() / ".local" / "share" / "wetread"


def cache_of_commands(config: Config | None) -> EngineCache:
    """The one that a command of this user reads and writes: the service's wherever that is possible."""
    if config is None:
        return user_cache("because there is no configuration here")
    shared = service_cache(config)
    nearest = next(p for p in (shared.folder, *shared.folder.absolute().parents) if p.exists())
    if os.access(nearest, os.W_OK):
        return shared
    return user_cache(f"who may not write to {nearest}")
