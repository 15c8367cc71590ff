"""One digest for what a read says: two reads that say the same have the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from wetread.records.finding import Condition, Detection, Finding, Segment, Undetected
from wetread.records.output import Masks, ModelOutput
from wetread.records.volume import LabelMap


def digest_of(findings: tuple[Finding, ...], output: ModelOutput, outside: tuple[str, ...] = ()) -> str:
    """SHA-256 (hex) over codes, measurements and what the model answered, every digit of it, and over what an image
    outside the intended use makes the report say."""
    digest = hashlib.sha256(json.dumps([_said(f) for f in findings], sort_keys=True).encode())
    if outside:
        digest.update(json.dumps(outside).encode())
    if isinstance(output, LabelMap):
        digest.update(repr(output.array.shape).encode())
        digest.update(np.ascontiguousarray(output.array).data)
    elif isinstance(output, Masks):
        digest.update(repr(output.array.shape).encode())
        for mask in output.array:  # one at a time: a stack that is not contiguous is never copied as a whole
            digest.update(np.ascontiguousarray(mask).data)
    return digest.hexdigest()


def _said(finding: Finding) -> dict[str, Any]:
    return {
        "codes": [str(code) for code in (finding.type, finding.laterality, finding.site)],
        "measurements": [[str(m.name), m.value.hex(), str(m.unit)] for m in finding.measurements],
        **_of_its_kind(finding),
    }


def _of_its_kind(finding: Finding) -> dict[str, Any]:
    match finding:
        case Segment():
            return {"label": finding.label_value, "category": str(finding.category), "voxels": finding.voxel_count}
        case Condition():
            threshold = None if finding.threshold is None else finding.threshold.hex()
            said = {"score": finding.score.hex(), "threshold": threshold, "calibrated": finding.calibrated}
            spread = [value.hex() for value in finding.spread.values] if finding.spread else None
            more = {"words": finding.words, "spread": spread}
            return said | {name: value for name, value in more.items() if value}
        case Detection():
            corners = [value.hex() for value in (*finding.low, *finding.high)]
            score, threshold = finding.score.hex(), finding.threshold.hex()
            return {"box": corners, "category": str(finding.category), "score": score, "threshold": threshold}
        case Undetected():
            return {"undetected above": finding.threshold.hex()}
