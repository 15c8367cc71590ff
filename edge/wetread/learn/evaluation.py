"""The right way to measure a bundle: by what it answers with."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from wetread.bundles import Bundle
from wetread.bundles.trust import TrustPolicy
from wetread.learn.cases import Part
from wetread.learn.evaluate import evaluate
from wetread.learn.evaluate_boxes import evaluate_boxes
from wetread.learn.evaluate_masks import evaluate_masks
from wetread.learn.measured import Measured, Progress
from wetread.learn.sources import Source


class _Way(Protocol):
    def __call__(
        self,
        bundle: Bundle,
        data: Path | Source,
        *,
        cache_folder: Path,
        engine: str,
        part: Part | None,
        trust: TrustPolicy | None,
        progress: Progress | None,
    ) -> Measured: ...


def measure_bundle(
    bundle: Bundle,
    data: Path | Source,
    *,
    cache_folder: Path,
    engine: str = "auto",
    part: Part | None = None,
    trust: TrustPolicy | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Label maps, boxes, or scores. Raises: as the three."""
    manifest = bundle.manifest
    way: _Way = evaluate_masks if manifest.labels else evaluate_boxes if manifest.boxes else evaluate
    return way(bundle, data, cache_folder=cache_folder, engine=engine, part=part, trust=trust, progress=progress)
