"""Masks that may overlap become segments: one for each label of the bundle, also for those that were not found."""

from __future__ import annotations

import numpy as np

from wetread.bundles import Bundle
from wetread.errors import OutputInvalid
from wetread.findings.from_labels import segment
from wetread.findings.grid import check_grid
from wetread.records.finding import Segment
from wetread.records.output import Masks, slice_areas
from wetread.records.volume import Volume


def read_masks(masks: Masks, volume: Volume, bundle: Bundle) -> tuple[Segment, ...]:
    """Count, measure and code every mask; the n-th belongs to the n-th label of the bundle.

    Raises: ``OutputInvalid`` when there is not one mask for each label, they are not on the grid of ``volume``, or one
    is empty that the bundle calls required.
    """
    rules = bundle.manifest.labels
    if masks.array.ndim != 4 or len(masks.array) != len(rules):
        raise OutputInvalid(
            f"bundle {bundle.name} answered with masks of the shape {masks.array.shape}, "
            f"expected {len(rules)} masks (label, slice, row, column)"
        )
    if masks.array.dtype != np.bool_:
        raise OutputInvalid(f"the masks hold {masks.array.dtype}, expected bool")
    check_grid("stack of masks", masks.array.shape[1:], masks.affine, volume)
    counts = slice_areas(masks).sum(axis=1)
    return tuple(
        segment(rule, place, int(counts[place]), volume, bundle.name) for place, rule in enumerate(rules, start=1)
    )
