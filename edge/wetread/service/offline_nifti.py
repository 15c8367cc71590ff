"""``wetread read`` of one NIfTI volume: findings as JSON, segmentations as NIfTI."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wetread.bundles import Bundle
from wetread.jobs.isolation import forbid_code_in_data
from wetread.memory import peak_mb, restart_peak
from wetread.progress import Progress
from wetread.records.job import ChosenSeries, JobOutcome, JobState, Prediction, StageTiming
from wetread.service.documents import Document, read_document
from wetread.service.offline import Foreseen, OfflineSettings, check_memory
from wetread.service.reading import engine_used

if TYPE_CHECKING:
    from wetread.infer.model import Model
    from wetread.records.output import ModelOutput
    from wetread.records.reading import Reading


def read_nifti_file(
    path: Path, bundle: Bundle, out: Path, settings: OfflineSettings, *, progress: Progress, foreseen: Foreseen
) -> Document:
    """Read one NIfTI volume: ``findings.json`` in ``out``, and what was segmented as NIfTI; returns the document.

    Raises: as ``read_folder``. Who the patient is, and so whether the bundle was made for them, cannot be checked.
    """
    from wetread.findings.from_output import read_output
    from wetread.guard.intended import check_spacing
    from wetread.nifti import read_nifti

    forbid_code_in_data()
    model, prediction = _open(path, bundle, settings)
    foreseen(prediction)
    check_memory(prediction, settings)
    restart_peak()
    started = time.perf_counter()
    wanted = bundle.manifest.inputs[0]
    volume = read_nifti(path)
    check_spacing(volume, wanted)
    progress("infer", 0.4)
    output = model.run({wanted.name: volume})
    reading = read_output(output, volume, bundle=bundle, engine=model.identity, decided_at=datetime.now(UTC))
    out.mkdir(parents=True, exist_ok=True)
    written = _write_segmentation(output, out)
    seconds = time.perf_counter() - started
    outcome = _outcome(path.name, model, reading, seconds=seconds, prediction=prediction)
    chosen = ChosenSeries(wanted.name, volume.series, "the NIfTI file itself; its header is not asked")
    report = read_document(outcome, bundle, [chosen])
    report["results"] = [{"kind": "NIfTI", "path": str(out / name)} for name in written]
    (out / "findings.json").write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")
    progress("done", 1.0)
    return report


def _open(path: Path, bundle: Bundle, settings: OfflineSettings) -> tuple[Model, Prediction | None]:
    """The bundle's network, and what this volume will take, by the file's header."""
    from wetread.infer.forecast import SourceGrid
    from wetread.infer.model import open_model
    from wetread.nifti import foreseen_grid

    shape, affine = foreseen_grid(path)
    model = open_model(
        bundle,
        engine=settings.engine,
        cache_folder=settings.cache_folder,
        trust=settings.trust,
        threads=settings.threads or None,
    )
    return model, model.forecast.of([SourceGrid(shape, affine)])


def _outcome(name: str, model: Model, reading: Reading, *, seconds: float, prediction: Prediction | None) -> JobOutcome:
    from wetread.findings.summary import summarize
    from wetread.records.output import Boxes

    output = reading.output
    return JobOutcome(
        name,
        JobState.DONE,
        findings=summarize(reading),
        timings=(StageTiming("read", seconds),),
        peak_memory_mb=peak_mb(),
        prediction=prediction,
        engine=engine_used(model),
        driven=(model.tier.name, *model.identity.shims),
        warnings=output.notes if isinstance(output, Boxes) else (),
    )


def _write_segmentation(output: ModelOutput, out: Path) -> list[str]:
    """``labels.nii.gz``, or one ``mask-N.nii.gz`` for each structure that may overlap others; the names written."""
    from wetread.nifti import write_nifti
    from wetread.records.output import Masks
    from wetread.records.volume import LabelMap

    maps: dict[str, LabelMap] = {}
    if isinstance(output, LabelMap):
        maps = {"labels.nii.gz": output}
    elif isinstance(output, Masks):
        maps = {f"mask-{n}.nii.gz": LabelMap(m.view("u1"), output.affine) for n, m in enumerate(output.array, start=1)}
    for name, label_map in maps.items():
        write_nifti(label_map, out / name)
    return list(maps)
