"""What a worker does with a job: open the bundle's model once, then run the pipeline for each ``JobSpec``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from wetread.bundles import load_bundle
from wetread.bundles.trust import TrustPolicy
from wetread.errors import Misconfigured
from wetread.jobs.isolation import forbid_code_in_data
from wetread.jobs.worker import Progress, Runner
from wetread.records.job import JobOutcome, JobSpec, JobState


@dataclass(frozen=True, slots=True)
class RunnerOpener:
    """Travels to a new worker process and opens the bundle there."""

    engine: str
    cache_folder: Path
    """Compiled engines and their certificates."""
    threads: int
    trust: TrustPolicy = field(default_factory=TrustPolicy)
    """Asked here, in the worker, before anything of the bundle is parsed."""

    def __call__(self, bundle_folder: Path, bundle_digest: str) -> Runner:
        """Load the bundle, compile or load its engine, check it against the golden case.

        Raises: ``Misconfigured`` when the files are not those the job was made for, the bundle may not run here,
        weights are missing, or the engine does not give the reference answer.
        """
        bundle = load_bundle(bundle_folder)
        if bundle.digest() != bundle_digest:
            raise Misconfigured(f"the files of bundle {bundle.name} have changed since the job was made")
        forbid_code_in_data()
        from wetread.findings.summary import summarize
        from wetread.infer.model import open_model
        from wetread.pipeline import process

        model = open_model(
            bundle,
            engine=self.engine,
            cache_folder=self.cache_folder,
            trust=self.trust,
            threads=self.threads or None,
        )

        def run(spec: JobSpec, progress: Progress) -> JobOutcome:
            read = process(spec, bundle, model, progress=progress)
            return JobOutcome(
                job_id=spec.job_id,
                state=JobState.DONE,
                results=read.results,
                findings=summarize(read.reading),
                timings=read.timings,
                supersedes=spec.supersedes,
                engine=f"{model.identity.name} {model.identity.precision} ({model.choice_reason})",
                driven=(model.tier.name, *model.identity.shims),
                warnings=read.warnings,
            )

        return run
