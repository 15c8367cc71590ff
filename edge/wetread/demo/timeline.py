"""How far the study has come, asked of the service's database as ``wetread studies show`` asks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wetread.demo.server import DemoFailed
from wetread.errors import Misconfigured
from wetread.records.numbers import number_of
from wetread.service.overview import Overview

ENDED_BADLY = frozenset({"failed", "rejected", "held", "not read", "cancelled"})
_POLL_S = 0.2
_MODEL_NOT_READY_S = 1.0
"""A read that took so much longer than its stages had to wait for the model."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the timeline."""

    name: str
    seconds: float | None
    """Since the last instance was stored; None: not yet."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The study at one moment."""

    state: str
    reason: str
    steps: tuple[Step, ...]
    job: Mapping[str, Any]
    """As ``wetread jobs show`` prints it; empty before there is one."""
    verdicts: tuple[str, ...]
    """Why each series was taken or passed over."""

    @property
    def peak_memory_mb(self) -> float:
        """Of the worker process; 0 before it answered."""
        return float(self.job.get("peak_memory_mb", 0.0))


@dataclass(frozen=True, slots=True)
class Sent:
    """The send, as the sender saw it."""

    study_instance_uid: str
    instances: int
    seconds: float
    last_stored_at: datetime
    """When the last C-STORE was answered with success, aware."""


def follow(
    overview: Overview, sent: Sent, *, timeout_s: float, on_look: Callable[[Snapshot], None], check: Callable[[], None]
) -> Snapshot:
    """Look until every result is delivered; ``check`` may raise when there is nothing to wait for any more.

    Raises: ``DemoFailed`` when the study ends in another state, or not in time.
    """
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while True:
        snapshot = look(overview, sent)
        on_look(snapshot)
        if snapshot.state == "read":
            return snapshot
        if snapshot.state in ENDED_BADLY:
            raise DemoFailed(f"the study is {snapshot.state}: {snapshot.reason}")
        if time.monotonic() > deadline:
            raise DemoFailed(f"after {timeout_s:g} s the study is still {snapshot.state} {snapshot.reason}".rstrip())
        check()
        pause.wait(_POLL_S)


def look(overview: Overview, sent: Sent) -> Snapshot:
    """The study now."""
    try:
        study = overview.study(sent.study_instance_uid)
    except Misconfigured:  # stored, and not yet indexed
        return Snapshot("receiving", "", (_received(sent),), {}, ())
    job = overview.job(study["jobs"][0]["id"]) if study["jobs"] else {}
    verdicts = tuple(v for d in study["decisions"] for v in d["verdicts"])
    return Snapshot(study["state"], study["reason"], tuple(_steps(study["timeline"], job, sent)), job, verdicts)


def _steps(events: list[Mapping[str, str]], job: Mapping[str, Any], sent: Sent) -> Iterator[Step]:
    at = {event["action"]: _since(event["at"], sent) for event in events}  # the last of each kind
    detail = {event["action"]: event["detail"] for event in events}
    yield _received(sent)
    for name in ("complete", "routed", "claimed"):
        yield Step(name, at.get(name), detail.get(name, ""))
    stages = {t["stage"]: float(t["seconds"]) for t in job.get("timings", ())}
    encoding_s = stages.pop("encode", 0.0)
    done = at.get("read")
    yield Step("read", None if done is None else done - encoding_s, _reading_note(job, stages, at))
    yield Step("encoded", done, _encoding_note(job, encoding_s))
    delivered = [d for d in job.get("deliveries", ()) if d["state"] == "delivered"]
    complete = bool(delivered) and len(delivered) == len(job["deliveries"])
    note = f"{len(delivered)} of {len(job['deliveries'])} instances in the PACS" if job.get("deliveries") else ""
    yield Step("delivered", at.get("delivered") if complete else None, note)


def _received(sent: Sent) -> Step:
    return Step(
        "received",
        0.0,
        f"{number_of(sent.instances, 'instance')} in {sent.seconds:.1f} s; the clock starts at the last",
    )


def _reading_note(job: Mapping[str, Any], stages: Mapping[str, float], at: Mapping[str, float]) -> str:
    if not job:
        return ""
    if not stages:
        return str(job.get("progress") or "") or ("waiting for the model" if job.get("state") == "running" else "")
    parts = [f"{stage} {seconds:.1f} s" for stage, seconds in stages.items()]
    waited = waiting_s(job, at.get("read"), at.get("claimed"))
    return ", ".join([*([f"waiting for the model {waited:.1f} s"] if waited else []), *parts])


def waiting_s(job: Mapping[str, Any], read_at: float | None, claimed_at: float | None) -> float:
    """How long the job waited for the model to be loaded, compiled and checked; 0 with a warm worker."""
    if read_at is None or claimed_at is None:
        return 0.0
    rest = read_at - claimed_at - sum(float(t["seconds"]) for t in job.get("timings", ()))
    return rest if rest > _MODEL_NOT_READY_S else 0.0


def _encoding_note(job: Mapping[str, Any], encoding_s: float) -> str:
    results = job.get("results", ())
    if not results:
        return ""
    renditions = list(dict.fromkeys(r["rendition"] for r in results))
    kinds = [r["kind"] for r in results if r["rendition"] == renditions[0]]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    both = f" in {len(renditions)} renditions, of which the PACS gets one," if len(renditions) > 1 else ""
    return f"{counted}{both} in {encoding_s:.1f} s"


def _since(at: str, sent: Sent) -> float:
    return (datetime.fromisoformat(at) - sent.last_stored_at).total_seconds()
