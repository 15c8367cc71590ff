"""Why an engine may not serve, kept for a day: nobody builds it again and again to hear the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from wetread.durable import write_atomically
from wetread.errors import EngineDisagrees, EngineUnavailable
from wetread.infer.keys import key_of

REFUSAL = "refusal.json"
_KEPT_FOR = timedelta(days=1)
"""Then it is tried again: a GPU may have been full, a driver may have been mended."""


class Refusal(BaseModel):
    """Kept in the place of the certificate that the engine did not get."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    subject: Mapping[str, str]
    kind: Literal["disagrees", "unavailable"]
    reason: str
    made_at: AwareDatetime

    def error(self) -> EngineDisagrees | EngineUnavailable:
        """As it was raised."""
        return EngineDisagrees(self.reason) if self.kind == "disagrees" else EngineUnavailable(self.reason)


def note_refusal(cache_folder: Path, what: Mapping[str, str], error: EngineDisagrees | EngineUnavailable) -> None:
    """Keep why the engine of this subject (``gate.subject``) may not serve."""
    kind: Literal["disagrees", "unavailable"] = "disagrees" if isinstance(error, EngineDisagrees) else "unavailable"
    refusal = Refusal(subject=what, kind=kind, reason=str(error), made_at=datetime.now(UTC))
    write_atomically(_path(cache_folder, what), lambda target: target.write_text(refusal.model_dump_json(indent=2)))


def noted_refusal(cache_folder: Path, what: Mapping[str, str]) -> Refusal | None:
    """What was noted for this subject, as long as it counts; a note that cannot be read does not."""
    noted = read_refusal(_path(cache_folder, what))
    if noted is None:
        return None
    fresh = timedelta(0) <= datetime.now(UTC) - noted.made_at < _KEPT_FOR
    return noted if fresh and dict(noted.subject) == dict(what) else None


def read_refusal(path: Path) -> Refusal | None:
    """The note in the cache, however old; one that cannot be read counts as absent."""
    try:
        return Refusal.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def forget_refusal(cache_folder: Path, what: Mapping[str, str]) -> None:
    """It serves now."""
    _path(cache_folder, what).unlink(missing_ok=True)


def _path(cache_folder: Path, what: Mapping[str, str]) -> Path:
    return cache_folder / key_of(what) / REFUSAL
