"""What an engine's certificate says. Nothing here imports torch: lists show certificates without opening a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from wetread.infer.gate.compare import Agreement

FORMAT_VERSION = 1
CERTIFICATE = "certificate.json"
Kind = Literal["golden", "synthetic"]


class Certificate(BaseModel):
    """Under what an engine serves. Kept in ``<cache>/<key>/certificate.json``; its digest goes into every result."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    kind: Kind
    subject: Mapping[str, str]
    """What was certified: bundle, engine, versions, machine. The key is the digest of this."""
    golden: Mapping[str, str]
    """SHA-256 (hex) of the golden files; empty for a synthetic certificate."""
    artefacts: Mapping[str, str] = {}
    """Engine files that answered: key in the cache → SHA-256 (hex). Empty where nothing compiled is kept."""
    measured: Agreement
    made_at: datetime

    def digest(self) -> str:
        """SHA-256 (hex) over the content."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def read_certificate(path: Path) -> Certificate | None:
    """The certificate in the cache; one that cannot be read counts as absent, because the gate makes a new one."""
    try:
        return Certificate.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
