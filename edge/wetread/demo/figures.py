"""The numbers of one demo run, as ``--json`` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wetread.demo.arrived import Arrived
from wetread.demo.server import QUIET_S
from wetread.demo.show import unit
from wetread.demo.timeline import Sent, Snapshot, waiting_s


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured."""

    sent: Sent
    last: Snapshot
    """When everything was delivered."""
    engine_ready_s: float
    """From the start of the service until its engine was compiled and had given the stored answer; 0: not seen."""

    @property
    def seconds(self) -> float:
        """From the last instance stored to the last result delivered."""
        return self._at("delivered")

    @property
    def beyond_quiet_s(self) -> float:
        """The same without the quiet time after which a study counts as complete."""
        return self.seconds - QUIET_S

    @property
    def waited_for_model_s(self) -> float:
        """How much of it the read waited for the model to be compiled and checked; 0 with a warm worker."""
        return waiting_s(self.last.job, self._at("encoded"), self._at("claimed"))

    @property
    def engine(self) -> str:
        """Engine, precision and why this one."""
        engine = self.last.job.get("engine")
        return f"{engine['name']} {engine['precision']} ({engine['reason']})" if engine else ""

    def _at(self, step: str) -> float:
        return next((s.seconds for s in self.last.steps if s.name == step and s.seconds is not None), 0.0)


def figures_document(figures: Figures, arrived: Arrived, *, page: str) -> dict[str, Any]:
    """One JSON document."""
    kinds = [d["kind"] for d in figures.last.job["deliveries"]]  # one of the renditions that were encoded
    return {
        "state": "done",
        "instances": figures.sent.instances,
        "sending_s": round(figures.sent.seconds, 2),
        "last_instance_to_delivered_s": round(figures.seconds, 2),
        "quiet_s": QUIET_S,
        "beyond_quiet_s": round(figures.beyond_quiet_s, 2),
        "waited_for_model_s": round(figures.waited_for_model_s, 2),
        "engine_ready_s": round(figures.engine_ready_s, 2),
        "peak_memory_mb": round(figures.last.peak_memory_mb),
        "engine": figures.engine,
        "stages_s": {t["stage"]: round(float(t["seconds"]), 2) for t in figures.last.job["timings"]},
        "timeline_s": {s.name: round(s.seconds, 2) for s in figures.last.steps if s.seconds is not None},
        "findings": [
            {"name": f.name, "measurement": m.name.meaning, "value": round(m.value, 2), "unit": unit(m)}
            for f in arrived.findings
            for m in f.measurements
        ],
        "results": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "series": list(figures.last.verdicts),
        "page": page,
    }


def not_read(verdicts: Sequence[str]) -> list[tuple[str, str]]:
    """Series that were passed over, sorted, each with the reason."""
    pairs = [verdict.partition(": passed over for ") for verdict in sorted(verdicts)]
    return [(label, why.partition(", ")[2]) for label, found, why in pairs if found]
