"""Findings without their masks: for tables, JSON and the timeline."""

from __future__ import annotations

from wetread.records.finding import Finding
from wetread.records.reading import Reading
from wetread.records.result import FindingSummary


def summarize(reading: Reading) -> tuple[FindingSummary, ...]:
    """One record for each finding, in the bundle's order; those not found say 0 mL."""
    return tuple(_summary(finding) for finding in reading.findings)


def _summary(finding: Finding) -> FindingSummary:
    code = finding.type
    return FindingSummary(
        name=finding.name,
        role=finding.role,
        code=f"{code.value}^{code.scheme}^{code.meaning}",
        laterality=finding.laterality.meaning if finding.laterality else "",
        tracking_uid=finding.tracking_uid,
        measurements=tuple((m.name.meaning, m.value, m.unit.value) for m in finding.measurements),
    )
