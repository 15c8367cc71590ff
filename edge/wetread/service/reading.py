"""What a worker does with a job: open the bundle's model once, then run the pipeline for each ``JobSpec``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wetread.bundles import Bundle, load_bundle
from wetread.bundles.manifest import InputRule
from wetread.bundles.trust import TrustPolicy
from wetread.errors import Misconfigured, NoSuitableSeries, StudyRejected
from wetread.jobs.isolation import forbid_code_in_data
from wetread.jobs.worker import Runner
from wetread.memory import peak_mb, restart_peak
from wetread.progress import Progress
from wetread.records.job import JobOutcome, JobSpec, JobState, Prediction
from wetread.records.result import EngineUsed
from wetread.records.study import SeriesRef

if TYPE_CHECKING:
    from wetread.infer.forecast import SourceGrid
    from wetread.infer.model import Reader


@dataclass(frozen=True, slots=True)
class RunnerOpener:
    """Travels to a new worker process and opens the bundle there."""

    engine: str
    cache_folder: Path
    """Compiled engines and their certificates."""
    threads: int
    trust: TrustPolicy = field(default_factory=TrustPolicy)
    """Asked here, in the worker, before anything of the bundle is parsed."""
    background: bool = False
    """No study waits for an engine: one that has to be built is built beside the work, the next one that is ready
    reads meanwhile."""

    def __call__(self, bundle_folder: Path, bundle_digest: str) -> Runner:
        """Load the bundle, compile or load its engine, check it against the golden case.

        Raises: ``Misconfigured`` when the files are not those the job was made for, the bundle may not run here,
        weights are missing, or the engine does not give the reference answer.
        """
        bundle = load_bundle(bundle_folder)
        if bundle.digest() != bundle_digest:
            raise Misconfigured(f"the files of bundle {bundle.name} have changed since the job was made")
        forbid_code_in_data()
        import wetread.pipeline  # noqa: F401 (all that a read imports, before one is predicted)

        model = self._model(bundle)
        model.forecast.prepare()
        return BundleRunner(bundle, model)

    def _model(self, bundle: Bundle) -> Reader:
        from wetread.infer.model import open_model
        from wetread.infer.standby import Standby

        opened: type[Standby] | Callable[..., Reader] = Standby if self.background else open_model
        return opened(
            bundle,
            engine=self.engine,
            cache_folder=self.cache_folder,
            trust=self.trust,
            threads=self.threads or None,
        )


def engine_used(model: Reader) -> EngineUsed:
    """The engine of a model, for reports."""
    identity = model.identity
    return EngineUsed(
        name=identity.name,
        precision=identity.precision,
        device=identity.device,
        library=identity.library_version,
        reason=model.choice_reason,
        certificate=identity.certificate,
    )


@dataclass(slots=True)
class BundleRunner:
    """An open bundle: predicts, reads, and keeps what reads took for the next prediction."""

    bundle: Bundle
    model: Reader
    _foreseen: dict[str, list[SourceGrid]] = field(default_factory=dict)
    """By job, from prediction to read: headers are read once for both."""

    def predict(self, spec: JobSpec) -> Prediction | None:
        """From the headers of the chosen series. What is wrong with them is said by the read, not here."""
        self.model.refresh()
        grids = self._grids(spec)
        self._foreseen = {spec.job_id: grids}
        return self.model.forecast.of(grids) if grids else None

    def __call__(self, spec: JobSpec, progress: Progress) -> JobOutcome:
        """Run the pipeline. Raises: ``StudyRejected`` with the reason, where no report of that is wanted."""
        options = spec.options
        try:
            if options.rejected_because:
                raise NoSuitableSeries(options.rejected_because)
            return self._read(spec, progress)
        except StudyRejected as exc:
            if not options.report_rejection:
                raise
            return self._rejected(spec, exc)

    def _rejected(self, spec: JobSpec, why: StudyRejected) -> JobOutcome:
        from wetread.service.refusing import refuse

        results = refuse(spec, self.bundle, self.model, str(why))
        return JobOutcome(
            job_id=spec.job_id,
            state=JobState.REJECTED,
            results=results,
            code=why.code,
            reason=str(why),
            supersedes=spec.supersedes,
            peak_memory_mb=peak_mb(),
        )

    def _read(self, spec: JobSpec, progress: Progress) -> JobOutcome:
        from wetread.findings.summary import described, summarize
        from wetread.pipeline import process

        self.model.refresh()
        before_mb = restart_peak()
        read = process(spec, self.bundle, self.model, progress=progress)
        grids = self._foreseen.pop(spec.job_id, None) or self._grids(spec)
        if grids:
            seconds = sum(t.seconds for t in read.timings)
            self.model.forecast.note(grids, before_mb=before_mb, seconds=seconds)
        return JobOutcome(
            job_id=spec.job_id,
            state=JobState.DONE,
            results=read.results,
            findings=summarize(read.reading, read.shown),
            input=described(read.shown),
            files=read.files,
            timings=read.timings,
            supersedes=spec.supersedes,
            peak_memory_mb=peak_mb(),
            engine=engine_used(self.model),
            driven=(self.model.tier.name, *self.model.identity.shims),
            warnings=read.warnings,
        )

    def _grids(self, spec: JobSpec) -> list[SourceGrid]:
        rules = {rule.name: rule for rule in self.bundle.manifest.inputs}
        try:
            return [_grid(c.series, rules[c.input_name]) for c in spec.chosen]
        except StudyRejected:
            return []


def _grid(series: SeriesRef, rule: InputRule) -> SourceGrid:
    from wetread.images.film import foreseen_film
    from wetread.images.volume import foreseen_grid
    from wetread.infer.forecast import SourceGrid

    if rule.kind == "radiograph":
        return SourceGrid.of_film(foreseen_film(series))
    return SourceGrid(*foreseen_grid(series, min_slices=rule.min_instances))
