"""``wetread bundle evaluate`` of a segmentation: read as a study is read, compared with a person's masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wetread.bundles import Bundle
from wetread.bundles.trust import TrustPolicy
from wetread.errors import DataUnusable, Misconfigured
from wetread.infer.model import open_model
from wetread.learn.cases import Case, Part
from wetread.learn.evaluate import Progress, chosen_part
from wetread.learn.mask_measures import MaskFigures, mask_figures, summary
from wetread.learn.measures import Figure
from wetread.learn.sources import Source, read_source
from wetread.records.output import ModelOutput
from wetread.records.reading import EngineIdentity
from wetread.records.study import SeriesRef
from wetread.records.volume import LabelMap, Volume


@dataclass(frozen=True, slots=True)
class Structure:
    """One label of the bundle."""

    name: str
    cases: tuple[tuple[str, MaskFigures], ...]
    """With the name of the case, which two may share."""
    figures: Mapping[str, Figure]
    """Means over the cases with bootstrap intervals."""


@dataclass(frozen=True, slots=True)
class MaskEvaluation:
    """What was measured, on what, with what."""

    bundle: Bundle
    engine: EngineIdentity
    source: Source
    part: str
    n: int
    structures: tuple[Structure, ...]


def evaluate_masks(
    bundle: Bundle,
    data: Path | Source,
    *,
    cache_folder: Path,
    engine: str = "auto",
    part: Part | None = None,
    trust: TrustPolicy | None = None,
    progress: Progress | None = None,
) -> MaskEvaluation:
    """Read every volume of a folder with ``cases.csv`` and compare with its label map.

    Raises: ``DataUnusable``, ``Misconfigured``, and what ``open_model`` and a read raise.
    """
    tell = progress or (lambda _what, _share: None)
    labels = bundle.manifest.labels
    if not labels or len(bundle.manifest.inputs) != 1:
        raise Misconfigured(f"bundle {bundle.name} is no segmentation of one image")
    source = read_source(data, bundle.manifest)
    name, cases = chosen_part(source, part)
    found: dict[str, list[tuple[str, MaskFigures]]] = {label.name: [] for label in labels}
    model = open_model(bundle, engine=engine, cache_folder=cache_folder, trust=trust)
    try:
        for number, case in enumerate(cases):
            volume, drawn = _volume(case)
            said = _label_map(model.run({bundle.manifest.inputs[0].name: volume}), bundle)
            for label in labels:
                truth = drawn == (label.value if label.bundle_value is None else label.bundle_value)
                figures = mask_figures(said == label.value, truth, volume.spacing_mm)
                found[label.name].append((case.name, figures))
            tell(f"reading {number + 1} of {len(cases)}", (number + 1) / len(cases))
        identity = model.identity
    finally:
        model.close()
    structures = tuple(
        Structure(label, tuple(of), summary([figures for _, figures in of])) for label, of in found.items()
    )
    return MaskEvaluation(bundle, identity, source, name, len(cases), structures)


def as_document(evaluation: MaskEvaluation) -> Mapping[str, object]:
    """For ``--json``: means over the structures at the top; figures of each structure and case below."""
    first = evaluation.structures[0].figures
    names = [name for name in first if all(name in s.figures for s in evaluation.structures)]
    return {
        "bundle": evaluation.bundle.name,
        "version": evaluation.bundle.version,
        "digest": evaluation.bundle.digest(),
        "engine": f"{evaluation.engine.name} {evaluation.engine.precision} {evaluation.engine.library_version}",
        "certificate": evaluation.engine.certificate,
        "data": {"path": str(evaluation.source.path), "sha256": evaluation.source.sha256, "part": evaluation.part},
        "n": evaluation.n,
        "passed_over": list(evaluation.source.notes),
        **{name: float(np.mean([s.figures[name].value for s in evaluation.structures])) for name in names},
        "structures": [
            {
                "name": s.name,
                "figures": {name: figure.value for name, figure in s.figures.items()},
                "intervals_95": {name: [figure.low, figure.high] for name, figure in s.figures.items()},
                "cases": [
                    {"name": case, **{name: getattr(of, name) for name in MaskFigures.__slots__}}
                    for case, of in s.cases
                ],
            }
            for s in evaluation.structures
        ],
    }


def _volume(case: Case) -> tuple[Volume, npt.NDArray[np.uint8]]:
    if case.affine is None or case.mask is None:
        raise DataUnusable(f"{case.name} is no volume with a label map, which a segmentation is measured on")
    series = SeriesRef(series_instance_uid="", modality="", instances=(), description=case.name)
    return Volume(case.image, case.affine, series, (), ""), case.mask


def _label_map(answer: ModelOutput, bundle: Bundle) -> npt.NDArray[np.uint8]:
    if not isinstance(answer, LabelMap):
        raise Misconfigured(
            f"bundle {bundle.name} answered with {type(answer).__name__}; only label maps are evaluated"
        )
    return answer.array
