"""Who vouched for which bundle: ``installed.json`` in the bundle folder, outside of the bundles themselves."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wetread.durable import write_atomically
from wetread.errors import Misconfigured

RECORDS = "installed.json"


class Record(BaseModel):
    """How one bundle came to be trusted as code."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    digest: str
    """SHA-256 (hex) of the bundle as installed (``Bundle.digest``)."""
    trusted: Literal["signature", "local"]
    by: str
    """Fingerprint of the key, or the user who said ``--trust-local``."""
    at: datetime
    source: str
    """File or folder it came from."""


class _Records(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    bundles: dict[str, Record] = {}


def record_of(bundle_folder: Path) -> Record | None:
    """The record of a bundle, by its folder; None for a bundle that was put there by hand.

    Raises: ``Misconfigured`` when the records cannot be read: a damaged file must not make a bundle less checked.
    """
    return _read(bundle_folder.parent).bundles.get(bundle_folder.name)


def write_record(bundle_folder: Path, record: Record) -> None:
    """Put a record in place, atomically."""
    kept = _read(bundle_folder.parent)
    _write(bundle_folder.parent, kept.model_copy(update={"bundles": {**kept.bundles, bundle_folder.name: record}}))


def _read(folder: Path) -> _Records:
    path = folder / RECORDS
    try:
        return _Records.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _Records()
    except (OSError, ValidationError) as exc:
        raise Misconfigured(f"the install records {path} cannot be read: {exc}; install the bundles anew") from exc


def _write(folder: Path, records: _Records) -> None:
    def write(part: Path) -> None:
        part.write_text(records.model_dump_json(indent=2) + "\n", encoding="utf-8")
        part.chmod(0o644)

    write_atomically(folder / RECORDS, write)
