"""A label map becomes segments: one for each label of the bundle, also for those that were not found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wetread.bundles import Bundle
from wetread.bundles.manifest import LabelRule
from wetread.errors import OutputInvalid
from wetread.findings.grid import check_grid
from wetread.findings.measure import measure
from wetread.findings.tracking import tracking_uid
from wetread.records.finding import Segment
from wetread.records.output import slice_areas
from wetread.records.volume import LabelMap, Volume


def read_labels(label_map: LabelMap, volume: Volume, bundle: Bundle) -> tuple[Segment, ...]:
    """Count, measure and code every label of the bundle; values are those that the bundle declares.

    Raises: ``OutputInvalid`` when the map is not on the grid of ``volume``, holds a value that the bundle does not
    declare, or lacks a label that the bundle calls required.
    """
    check_grid("label map", label_map.array.shape, label_map.affine, volume)
    if label_map.array.dtype != np.uint8:
        raise OutputInvalid(f"the label map holds {label_map.array.dtype}, expected uint8")
    rules = bundle.manifest.labels
    counts = slice_areas(label_map).sum(axis=1)
    _check_values(counts, rules, bundle.name)
    return tuple(segment(rule, rule.value, int(counts[rule.value]), volume, bundle.name) for rule in rules)


def segment(rule: LabelRule, label_value: int, voxel_count: int, volume: Volume, bundle: str) -> Segment:
    """One structure, found or not.

    Raises: ``OutputInvalid`` when it is empty and the bundle calls it required.
    """
    if rule.required and not voxel_count:
        raise OutputInvalid(f"bundle {bundle} found no voxel of {rule.name!r}, which must be there: the read failed")
    return Segment(
        label_value=label_value,
        name=rule.name,
        role=rule.role,
        category=rule.category.term(),
        type=rule.type.term(),
        laterality=rule.laterality.term() if rule.laterality else None,
        colour_rgb=rule.colour_rgb,
        voxel_count=voxel_count,
        measurements=measure(rule, voxel_count, volume),
        tracking_id=f"{rule.name} ({bundle})",
        tracking_uid=tracking_uid(volume, bundle, rule.value),
        site=rule.site.term() if rule.site else None,
    )


def _check_values(counts: npt.NDArray[np.int64], rules: tuple[LabelRule, ...], bundle: str) -> None:
    declared = {0, *(rule.value for rule in rules)}
    unknown = sorted(set(np.flatnonzero(counts).tolist()) - declared)
    if unknown:
        raise OutputInvalid(f"bundle {bundle} answered with the labels {unknown}, it declares {sorted(declared)}")
