"""``wetread read``: one study from a folder, read now, in this process; results into a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wetread.bundles import Bundle
from wetread.bundles.trust import TrustPolicy
from wetread.errors import MemoryShort, NoSuitableSeries, NotDicom, PatientConflict, StudyRejected
from wetread.guard.guard import every_reason
from wetread.images.folder import scan_folder
from wetread.jobs.admission import budget, check_ever, check_now
from wetread.jobs.worker import outcome_of
from wetread.memory import resident_mb
from wetread.progress import Progress
from wetread.records.job import ChosenSeries, JobSpec, Prediction, ReadOptions
from wetread.records.numbers import number_of
from wetread.records.result import Rendition
from wetread.records.study import StudyRef
from wetread.route.selection import select
from wetread.service.documents import Document, read_document
from wetread.service.reading import RunnerOpener

Foreseen = Callable[[Prediction | None], None]
"""Told before each read what it will take; None when nothing is known yet."""


@dataclass(frozen=True, slots=True)
class OfflineSettings:
    """What the user chose."""

    engine: str
    cache_folder: Path
    threads: int = 0
    utc_offset_minutes: int = 0
    trust: TrustPolicy = field(default_factory=TrustPolicy)
    rendition: Rendition = Rendition.COMMON
    memory_mb: int = 0
    """The most this process may take (MiB); 0: what the machine allows."""
    options: ReadOptions = ReadOptions()


@dataclass(frozen=True, slots=True)
class FolderRead:
    """What came of a folder."""

    reads: list[Document]
    """One for each read, also for one that was rejected beside others, or with a report of that."""
    passed_over: tuple[str, ...]
    """Series and films that were not read, each with the reason."""


def read_folder(
    folder: Path, bundle: Bundle, out: Path, settings: OfflineSettings, *, progress: Progress, foreseen: Foreseen
) -> FolderRead:
    """Read every study in ``folder`` that fits the bundle's input rule; results go to ``out``, documents come back.

    Raises: ``StudyRejected`` when nothing could be read and no report of that is wanted; ``MemoryShort`` when a read
    does not fit into memory now; ``Misconfigured`` when the bundle cannot serve.
    """
    scan = scan_folder(folder)
    if not scan.studies:
        why = f"; {scan.skipped[0].reason}" if scan.skipped else ""
        raise NotDicom(f"no DICOM study in {folder} ({number_of(len(scan.skipped), 'other file')}{why})")
    specs, passed_over = _specs(scan.studies, bundle, out, settings)
    opener = RunnerOpener(settings.engine, settings.cache_folder, settings.threads, settings.trust)
    runner = opener(bundle.folder, bundle.digest())
    outcomes = []
    for spec in specs:
        prediction = runner.predict(spec)
        foreseen(prediction)
        try:
            check_memory(prediction, settings)
            done = runner(spec, progress)
        except StudyRejected as exc:
            if len(specs) == 1:
                raise
            done = outcome_of(spec, exc)
        outcomes.append(dataclasses.replace(done, prediction=prediction))
    reads = [read_document(outcome, bundle, spec.chosen) for outcome, spec in zip(outcomes, specs, strict=True)]
    return FolderRead(reads, passed_over)


def check_memory(prediction: Prediction | None, settings: OfflineSettings) -> None:
    """A sentence now instead of an OOM kill in the middle. Raises: ``TooLargeForMachine``, ``MemoryShort``."""
    memory = budget(settings.memory_mb)
    check_ever(prediction, memory)
    try:
        check_now(prediction, memory, used_mb=resident_mb())
    except MemoryShort as exc:
        raise MemoryShort(
            f"not enough memory now: {str(exc).partition(': ')[2]}; try again when other work ended"
        ) from exc


def _specs(
    studies: tuple[StudyRef, ...], bundle: Bundle, out: Path, settings: OfflineSettings
) -> tuple[list[JobSpec], tuple[str, ...]]:
    """The reads, and what was passed over."""
    uids = [study.study_instance_uid for study in studies]
    if len(set(uids)) < len(uids):
        raise PatientConflict("one Study Instance UID with two patients: such a study is not read")
    outside = settings.options.outside_intended_use
    selections = [(study, select(study, bundle.manifest.inputs, outside=outside)) for study in studies]
    reads = [(study, chosen, settings.options) for study, selection in selections for chosen in selection.reads]
    refused = [
        (study, every_reason(selection.missing, study, bundle.manifest, settings.options))
        for study, selection in selections
        if not selection.reads
    ]
    if not reads and not settings.options.report_rejection:
        raise NoSuitableSeries("; ".join(why for _, why in refused))
    if settings.options.report_rejection:
        reads += [(s, (), dataclasses.replace(settings.options, rejected_because=why)) for s, why in refused]
    passed_over = tuple(str(v) for _, selection in selections for v in selection.verdicts if not v.taken)
    return [*_numbered(reads, bundle, out, settings)], passed_over


def _numbered(
    reads: list[tuple[StudyRef, tuple[ChosenSeries, ...], ReadOptions]],
    bundle: Bundle,
    out: Path,
    settings: OfflineSettings,
) -> Iterator[JobSpec]:
    yield from (
        JobSpec(
            job_id=f"read-{number}",
            study=study,
            chosen=chosen,
            bundle_folder=bundle.folder,
            bundle_digest=bundle.digest(),
            out_folder=out if len(reads) == 1 else out / f"read-{number}",
            utc_offset_minutes=settings.utc_offset_minutes,
            renditions=(settings.rendition,),
            options=options,
        )
        for number, (study, chosen, options) in enumerate(reads, start=1)
    )
