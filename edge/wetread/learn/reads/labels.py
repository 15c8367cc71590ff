"""What a signed review teaches: the reader's word on what the model said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wetread.bundles.manifest import Manifest
from wetread.errors import DataUnusable
from wetread.records.coded import CodedTerm
from wetread.review.decisions import Review

Finding = Mapping[str, Any]
"""As the job's report keeps it: ``FindingSummary`` as JSON."""


def score_targets(manifest: Manifest, findings: Sequence[Finding], review: Review) -> tuple[int, ...]:
    """0 or 1 for each score of the bundle, in its order.

    Accepted: as the read called it. Rejected: the opposite, because the reader says that it is not so.
    Raises: ``DataUnusable`` when the read called nothing, or the reader decided nothing, about one of the scores.
    """
    return tuple(_target(rule.name, _of(findings, rule.condition.term()), review) for rule in manifest.scores)


def structure_values(manifest: Manifest, findings: Sequence[Finding], review: Review) -> dict[int, int]:
    """Value in the read's label map → value in the bundle's own label map.

    Raises: ``DataUnusable`` unless every structure was accepted: what was rejected is drawn wrongly, and nobody knows
    where it would be right.
    """
    values = {}
    for rule in manifest.labels:
        side = rule.laterality.term().meaning if rule.laterality else ""
        finding = _of(findings, rule.type.term(), side)
        if finding is None:
            raise DataUnusable(f"its read does not know {rule.name}: another version of the bundle made it")
        state = review.of(finding["tracking_uid"]).state
        if state != "accepted":
            raise DataUnusable(f"{rule.name} was {'rejected' if state == 'rejected' else 'not decided about'}")
        if finding.get("label_value") is not None:
            values[int(finding["label_value"])] = rule.bundle_value or rule.value
    return values


def _target(name: str, finding: Finding | None, review: Review) -> int:
    called = {"present": 1, "absent": 0}.get(finding["evaluation"]) if finding else None
    if finding is None or called is None:
        raise DataUnusable(f"its read does not say whether there is {name}")
    state = review.of(finding["tracking_uid"]).state
    if state == "proposed":
        raise DataUnusable(f"{name} was not decided about")
    return called if state == "accepted" else 1 - called


def _of(findings: Sequence[Finding], term: CodedTerm, side: str = "") -> Finding | None:
    """The finding with this code, and on this side where there is one."""
    for finding in findings:
        code = finding["code"]
        if (code["value"], code["scheme"]) == (term.value, term.scheme) and (not side or finding["laterality"] == side):
            return finding
    return None
