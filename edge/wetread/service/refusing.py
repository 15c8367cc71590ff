"""A study that is not read becomes a report that says so: beside the main path, with its last two stages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wetread.bundles import Bundle
from wetread.encode.encoder import EncodeContext, encode
from wetread.findings.from_output import read_nothing
from wetread.records.job import JobSpec
from wetread.records.refused import Refused
from wetread.records.result import EncodedResult

if TYPE_CHECKING:
    from wetread.infer.model import Reader


def refuse(spec: JobSpec, bundle: Bundle, model: Reader, reason: str) -> tuple[EncodedResult, ...]:
    """Write the report that says why a study was not read into ``spec.out_folder``."""
    modalities = frozenset(modality for rule in bundle.manifest.inputs for modality in rule.modality)
    studied = replace(spec.study, series=tuple(c.series for c in spec.chosen) or spec.study.series)
    reading = read_nothing(reason, bundle=bundle, engine=model.identity, decided_at=datetime.now(UTC))
    image = Refused.of(studied, reason, modalities=modalities)
    return encode(EncodeContext(spec=spec, manifest=bundle.manifest, image=image, reading=reading))
