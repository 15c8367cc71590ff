"""The right way to measure a bundle: by what it answers with."""

from __future__ import annotations

from pathlib import Path

from wetread.bundles import Bundle
from wetread.learn.cases import Part
from wetread.learn.evaluate import evaluate
from wetread.learn.evaluate_boxes import evaluate_boxes
from wetread.learn.evaluate_masks import evaluate_masks
from wetread.learn.measured import HowRead, Measured
from wetread.learn.sources import Source


def measure_bundle(bundle: Bundle, data: Path | Source, how: HowRead, *, part: Part | None = None) -> Measured:
    """Label maps, boxes, or scores. Raises: as the three."""
    manifest = bundle.manifest
    if manifest.labels:
        return evaluate_masks(bundle, data, how, part=part)
    if manifest.boxes:
        return evaluate_boxes(bundle, data, how, part=part)
    return evaluate(bundle, data, how, part=part)
