"""A label map becomes coded findings: one for each label of the bundle, also for those that were not found."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import datetime

import numpy as np
import numpy.typing as npt

from wetread.bundles import Bundle
from wetread.bundles.manifest import LabelRule
from wetread.errors import OutputInvalid
from wetread.findings.measure import measure
from wetread.records.finding import Finding
from wetread.records.reading import AlgorithmIdentity, EngineIdentity, Reading
from wetread.records.volume import LabelMap, Volume

_TRACKING = uuid.UUID("5d0f1c2e-7a55-5c59-9a0b-3f6f6d2f3f10")
"""Namespace of tracking UIDs. Never change it: a structure would lose its identity between two versions of Wetread."""


def read_labels(
    label_map: LabelMap, volume: Volume, *, bundle: Bundle, engine: EngineIdentity, decided_at: datetime
) -> Reading:
    """Count, measure and code every label of the bundle.

    A label without any voxel gives a finding with ``voxel_count`` 0: it was looked for and not found, which is
    an answer and not silence. ``label_map`` is kept as it is, values as the bundle declares them.

    Raises: ``OutputInvalid`` when the map is not on the grid of ``volume``, holds a value that the bundle does not
    declare, or lacks a label that the bundle calls required.
    """
    _check_grid(label_map, volume)
    rules = bundle.manifest.labels
    counts = np.bincount(label_map.array.ravel(), minlength=256)
    _check_values(counts, rules, bundle.name)
    findings = tuple(_finding(rule, int(counts[rule.value]), volume, bundle.name) for rule in rules)
    return Reading(
        findings=findings,
        label_map=label_map,
        algorithm=_identity(bundle, engine),
        digest=_digest(label_map, findings),
        decided_at=decided_at,
    )


def _check_grid(label_map: LabelMap, volume: Volume) -> None:
    if label_map.array.shape != volume.array.shape:
        raise OutputInvalid(
            f"the label map has {label_map.array.shape} voxels (slice, row, column), its image has {volume.array.shape}"
        )
    if label_map.array.dtype != np.uint8:
        raise OutputInvalid(f"the label map holds {label_map.array.dtype}, expected uint8")
    if not np.allclose(label_map.affine, volume.affine, atol=1e-3):
        raise OutputInvalid("the label map lies elsewhere in the patient than its image: the affines differ")


def _check_values(counts: npt.NDArray[np.intp], rules: tuple[LabelRule, ...], bundle: str) -> None:
    declared = {0, *(rule.value for rule in rules)}
    unknown = sorted(set(np.flatnonzero(counts).tolist()) - declared)
    if unknown:
        raise OutputInvalid(f"bundle {bundle} answered with the labels {unknown}, it declares {sorted(declared)}")
    for rule in rules:
        if rule.required and not counts[rule.value]:
            raise OutputInvalid(
                f"bundle {bundle} found no voxel of {rule.name!r}, which must be there: the read failed"
            )


def _finding(rule: LabelRule, voxel_count: int, volume: Volume, bundle: str) -> Finding:
    return Finding(
        label_value=rule.value,
        name=rule.name,
        role=rule.role,
        category=rule.category.term(),
        type=rule.type.term(),
        laterality=rule.laterality.term() if rule.laterality else None,
        colour_rgb=rule.colour_rgb,
        voxel_count=voxel_count,
        measurements=measure(rule, voxel_count, volume),
        tracking_id=f"{rule.name} ({bundle})",
        tracking_uid=_tracking_uid(volume, bundle, rule),
    )


def _tracking_uid(volume: Volume, bundle: str, rule: LabelRule) -> str:
    """The same structure in the same series by the same bundle keeps its UID, also after the bundle was retrained.

    The Series Instance UID stands for the study too: it is globally unique (PS3.3 C.7.3.1). Form: PS3.5 B.2.
    """
    name = "\0".join((volume.series.series_instance_uid, bundle, str(rule.value)))
    return f"2.25.{uuid.uuid5(_TRACKING, name).int}"


def _identity(bundle: Bundle, engine: EngineIdentity) -> AlgorithmIdentity:
    return AlgorithmIdentity(
        bundle_name=bundle.name,
        bundle_version=bundle.version,
        bundle_digest=bundle.digest(),
        weights_digest=bundle.weights_digest(),
        title=bundle.manifest.title,
        engine=engine,
    )


def _digest(label_map: LabelMap, findings: tuple[Finding, ...]) -> str:
    said = [
        {
            "label": f.label_value,
            "codes": [str(f.category), str(f.type), str(f.laterality)],
            "voxels": f.voxel_count,
            "measurements": [[str(m.name), m.value.hex(), str(m.unit)] for m in f.measurements],
        }
        for f in findings
    ]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    digest.update(repr(label_map.array.shape).encode())
    digest.update(np.ascontiguousarray(label_map.array).data)
    return digest.hexdigest()
