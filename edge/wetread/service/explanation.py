"""What a route says about a study, in the words of ``wetread route explain`` and ``replay``; nothing is done."""

from __future__ import annotations

from typing import Any

from wetread.errors import NotIntended
from wetread.guard.guard import every_reason, patient_rule
from wetread.guard.intended import check_patient
from wetread.records.study import StudyRef
from wetread.route.router import Decision

Document = dict[str, Any]


def explained(study: StudyRef, decision: Decision) -> Document:
    """A decision, with what the guard will say about the patient: it is in the header, so it can be said now."""
    outcome: str = decision.outcome
    reason = decision.reason
    if outcome == "read" and not decision.route.outside_intended_use:
        try:
            check_patient(study, patient_rule(decision.bundle.manifest, decision.route.options))
        except NotIntended as exc:
            outcome, reason = "rejected", str(exc)
    if decision.outcome == "rejected":
        reason = every_reason(reason, study, decision.bundle.manifest, decision.route.options)
    return {
        "route": decision.route.name,
        "mode": decision.route.mode,
        "bundle": decision.bundle.name,
        "outcome": outcome,
        "reason": reason,
        "series": [str(v) for v in decision.verdicts],
    }
