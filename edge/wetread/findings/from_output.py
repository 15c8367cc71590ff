"""A model's answer, of whatever kind, becomes coded findings."""

from __future__ import annotations

from datetime import datetime

from wetread.bundles import Bundle
from wetread.errors import OutputInvalid
from wetread.findings.from_labels import read_labels
from wetread.records.output import ModelOutput
from wetread.records.reading import EngineIdentity, Reading
from wetread.records.volume import LabelMap, Volume


def read_output(
    output: ModelOutput, volume: Volume, *, bundle: Bundle, engine: EngineIdentity, decided_at: datetime
) -> Reading:
    """Measure and code what the model said about ``volume``.

    Raises: ``OutputInvalid`` when it breaks what the bundle declares.
    """
    if isinstance(output, LabelMap):
        return read_labels(output, volume, bundle=bundle, engine=engine, decided_at=decided_at)
    raise OutputInvalid(f"bundle {bundle.name} answered with {type(output).__name__}, which is not read yet")
