"""Work: what a worker is told, and what it answers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from wetread.records.result import (
    EncodedResult,
    EngineUsed,
    FindingSummary,
    ReadInput,
    Rendition,
    ReportRef,
    ResultFile,
)
from wetread.records.study import SeriesRef, StudyRef

JOB_SPEC_VERSION = 1


class JobState(StrEnum):
    """A job is in exactly one of these; the queue's table of transitions is in ``jobs/queue.py``."""

    WAITING = "waiting"
    """To be claimed, now or at ``available_at``."""
    RUNNING = "running"
    DONE = "done"
    REJECTED = "rejected"
    """The data will not get better; the reason is recorded."""
    FAILED = "failed"
    """Dead letter: retries are used up, or the error was not one we know. Can be retried by a person."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ChosenSeries:
    """Which series feeds which input of the bundle, and why."""

    input_name: str
    series: SeriesRef
    reason: str


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a route, or the person who asked, allows beyond the bundle's own rules."""

    outside_intended_use: bool = False
    """Read although a rule of the bundle says that it was not made for this; every object says so."""
    accept_unknown_age: bool = False
    """Read a patient of unknown age, also with a bundle that would reject it."""
    report_rejection: bool = False
    """A study that is not read gives a report that says so."""
    parametric_maps: bool = False
    """Heat maps are also written as Parametric Maps, whether the bundle asks for that or not."""
    rejected_because: str = ""
    """The route rejected the study already: nothing is read, and the report gives this reason."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Everything a worker needs for one read; it asks nobody else."""

    job_id: str
    study: StudyRef
    chosen: tuple[ChosenSeries, ...]
    bundle_folder: Path
    bundle_digest: str
    """The worker refuses to run a bundle whose files have changed since the job was made."""
    out_folder: Path
    """Where the worker writes result files; made by the worker, moved into place by the coordinator."""
    route: str = ""
    series_number_base: int = 9000
    utc_offset_minutes: int = 0
    """Offset of the site's zone, for DICOM times in results."""
    supersedes: tuple[ReportRef, ...] = ()
    """Delivered reports of this study by this bundle that the new one takes the place of."""
    renditions: tuple[Rendition, ...] = (Rendition.COMMON,)
    """Those that the job's destinations take."""
    options: ReadOptions = ReadOptions()
    for_viewers: bool = False
    """Also write what viewers need beside the DICOM objects."""
    version: int = JOB_SPEC_VERSION


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a read will take, said before it starts."""

    memory_mb: int
    """Largest resident set of the whole worker process (MiB): meant as an upper bound."""
    seconds: float
    """From the first header to the last result file."""
    basis: str
    """What it was computed from, e.g. ``48 windows; 3 reads on this machine``."""

    def __str__(self) -> str:
        return f"about {self.memory_mb} MB and {self.seconds:.0f} s ({self.basis})"


@dataclass(frozen=True, slots=True)
class StageTiming:
    """How long one stage of the pipeline took."""

    stage: str
    seconds: float


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What the worker answers; ``state`` is DONE, REJECTED, FAILED or WAITING (a temporary error: try again)."""

    job_id: str
    state: JobState
    results: tuple[EncodedResult, ...] = ()
    findings: tuple[FindingSummary, ...] = ()
    code: str = ""
    reason: str = ""
    timings: tuple[StageTiming, ...] = ()
    peak_memory_mb: float = 0.0
    engine: EngineUsed | None = None
    """Which engine answered, and why this one, as a sentence."""
    driven: tuple[str, ...] = ()
    """The tier, then what of the bundle was adapted to today's libraries."""
    supersedes: tuple[ReportRef, ...] = ()
    """Those of the spec: what the report names."""
    warnings: tuple[str, ...] = field(default=())
    prediction: Prediction | None = None
    """What was said before it started; None when nothing was known."""
    input: ReadInput | None = None
    """The image it is about."""
    files: tuple[ResultFile, ...] = ()
    """For viewers."""

    def report(self) -> dict[str, Any]:
        """Everything but the state and the results, as JSON values (``packaging/docs/read.schema.json``)."""
        return {
            "findings": [dataclasses.asdict(f) for f in self.findings],
            "timings": [{"stage": t.stage, "seconds": round(t.seconds, 3)} for t in self.timings],
            "peak_memory_mb": round(self.peak_memory_mb),
            "prediction": dataclasses.asdict(self.prediction) if self.prediction else None,
            "engine": dataclasses.asdict(self.engine) if self.engine else None,
            "driven": list(self.driven),
            "warnings": list(self.warnings),
        }
