"""The timeline: seconds since the last instance, and an end that is told apart from a failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from wetread.demo.server import DemoFailed
from wetread.demo.timeline import Sent, Snapshot, follow, look
from wetread.errors import Misconfigured

STORED = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
SENT = Sent("1.2.3", 27, 0.4, STORED)


def _event(action: str, seconds: float, detail: str = "") -> dict[str, str]:
    return {"action": action, "at": (STORED + timedelta(seconds=seconds)).isoformat(), "detail": detail}


class _Overview:
    """What the database would say, one answer for each look; the last one stays."""

    def __init__(self, *studies: dict[str, Any] | None, job: dict[str, Any] | None = None) -> None:
        self._studies = list(studies)
        self._job = job or {}

    def study(self, _uid: str) -> dict[str, Any]:
        study = self._studies.pop(0) if len(self._studies) > 1 else self._studies[0]
        if study is None:
            raise Misconfigured("no study 1.2.3 here")
        return {"reason": "", "timeline": [], "decisions": [], "jobs": [], **study}

    def job(self, _job_id: str) -> dict[str, Any]:
        return self._job


def _follow(overview: _Overview, timeout_s: float = 10.0) -> tuple[Snapshot, list[str]]:
    states: list[str] = []
    last = follow(
        overview,  # type: ignore[arg-type]
        SENT,
        timeout_s=timeout_s,
        on_look=lambda snapshot: states.append(snapshot.state),
        check=lambda: None,
    )
    return last, states


def _seconds(snapshot: Snapshot) -> dict[str, float | None]:
    return {step.name: step.seconds for step in snapshot.steps}


def test_steps_of_a_finished_read_are_in_order_and_in_seconds() -> None:
    events = [_event("complete", 5.1), _event("routed", 5.2), _event("claimed", 5.3), _event("read", 15.0)]
    job = {
        "state": "done",
        "timings": [{"stage": "infer", "seconds": 4.0}, {"stage": "encode", "seconds": 2.0}],
        "results": [{"kind": kind, "rendition": "common"} for kind in ("SEG", "SC", "SC")],
        "deliveries": [{"state": "delivered"}, {"state": "delivered"}],
    }
    study = {"state": "read", "timeline": [*events, _event("delivered", 15.5)], "jobs": [{"id": "j"}]}
    snapshot = look(_Overview(study, job=job), SENT)  # type: ignore[arg-type]
    assert list(_seconds(snapshot)) == ["received", "complete", "routed", "claimed", "read", "encoded", "delivered"]
    assert list(_seconds(snapshot).values()) == pytest.approx([0.0, 5.1, 5.2, 5.3, 13.0, 15.0, 15.5])
    notes = {step.name: step.note for step in snapshot.steps}
    assert notes["read"] == "waiting for the model 3.7 s, infer 4.0 s"
    assert notes["encoded"] == "1 SEG, 2 SC in 2.0 s"


def test_objects_are_counted_as_the_pacs_gets_them_also_where_both_renditions_were_encoded() -> None:
    results = [{"kind": k, "rendition": r} for r in ("modern", "common") for k in ("SEG", "SR", "SC", "SC")]
    job = {"timings": [{"stage": "encode", "seconds": 1.5}], "results": results}
    snapshot = look(_Overview({"state": "read", "jobs": [{"id": "j"}]}, job=job), SENT)  # type: ignore[arg-type]
    (note,) = (step.note for step in snapshot.steps if step.name == "encoded")
    assert note == "1 SEG, 1 SR, 2 SC in 2 renditions, of which the PACS gets one, in 1.5 s"


def test_delivered_is_not_said_before_the_last_object() -> None:
    study = {"state": "delivering", "timeline": [_event("delivered", 15.5)], "jobs": [{"id": "j"}]}
    job = {"deliveries": [{"state": "delivered"}, {"state": "pending"}]}
    snapshot = look(_Overview(study, job=job), SENT)  # type: ignore[arg-type]
    assert _seconds(snapshot)["delivered"] is None
    assert snapshot.steps[-1].note == "1 of 2 instances in the PACS"


def test_following_waits_for_the_index_and_ends_when_all_is_delivered() -> None:
    last, states = _follow(_Overview(None, {"state": "receiving"}, {"state": "reading"}, {"state": "read"}))
    assert states == ["receiving", "receiving", "reading", "read"]
    assert last.state == "read"


@pytest.mark.parametrize("state", ["rejected", "failed", "held", "not read", "cancelled"])
def test_study_that_ends_otherwise_fails_the_demo_with_its_reason(state: str) -> None:
    with pytest.raises(DemoFailed, match=f"the study is {state}: because"):
        _follow(_Overview({"state": state, "reason": "because"}))


def test_study_that_never_ends_fails_the_demo() -> None:
    with pytest.raises(DemoFailed, match="still delivering"):
        _follow(_Overview({"state": "delivering"}), timeout_s=0.0)
