"""``wetread bundle evaluate`` of a segmentation: read as a study is read, compared with a person's masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wetread.bundles import Bundle
from wetread.errors import DataUnusable, Misconfigured
from wetread.learn.cases import Case, Part
from wetread.learn.mask_measures import MaskFigures, mask_figures, summary
from wetread.learn.measured import HowRead, Measured, means, measurable, told
from wetread.learn.measures import Figure
from wetread.learn.sources import Source
from wetread.learn.subgroups import MaskSubgroup, mask_subgroups
from wetread.records.output import ModelOutput
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
    subgroups: tuple[MaskSubgroup, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class MaskEvaluation(Measured):
    """Of a segmentation."""

    structures: tuple[Structure, ...]

    def document(self) -> Mapping[str, object]:
        """Means over the structures at the top; figures of each structure and case below."""
        return {
            **self.heading(),
            **means([s.figures for s in self.structures]),
            "structures": [_structure_document(s) for s in self.structures],
        }

    def in_words(self) -> Mapping[str, Sequence[str]]:
        """Each structure with its figures."""
        return {s.name: [f"{name} {figure}" for name, figure in s.figures.items()] for s in self.structures}


def evaluate_masks(bundle: Bundle, data: Path | Source, how: HowRead, *, part: Part | None = None) -> MaskEvaluation:
    """Read every volume of a folder with ``cases.csv`` and compare with its label map.

    Raises: ``DataUnusable``, ``Misconfigured``, and what ``open_model`` and a read raise.
    """
    labels = bundle.manifest.labels
    source, name, cases = measurable(bundle, data, part, answers=labels, kind="segmentation")
    found: dict[str, list[MaskFigures]] = {label.name: [] for label in labels}
    with how.opened(bundle) as model:
        for case in told(cases, how.progress):
            volume, drawn = _volume(case)
            said = _label_map(model.run({bundle.manifest.inputs[0].name: volume}), bundle)
            for label in labels:
                truth = drawn == (label.value if label.bundle_value is None else label.bundle_value)
                found[label.name].append(mask_figures(said == label.value, truth, volume.spacing_mm))
        identity = model.identity
    names = [case.name for case in cases]
    structures = tuple(
        Structure(label, tuple(zip(names, of, strict=True)), summary(of), mask_subgroups(cases, of))
        for label, of in found.items()
    )
    return MaskEvaluation(bundle, identity, source, name, len(cases), structures)


def _structure_document(structure: Structure) -> dict[str, object]:
    return {
        "name": structure.name,
        "figures": {name: figure.value for name, figure in structure.figures.items()},
        "intervals_95": {name: [figure.low, figure.high] for name, figure in structure.figures.items()},
        "subgroups": [{"attribute": g.attribute, "value": g.value, "n": g.n, **g.figures} for g in structure.subgroups],
        "cases": [
            {"name": case, **{name: getattr(of, name) for name in MaskFigures.__slots__}}
            for case, of in structure.cases
        ],
    }


def volume_of(case: Case) -> Volume:
    """As a read gets it, without instances. Raises: ``DataUnusable`` for a film."""
    if case.affine is None:
        raise DataUnusable(f"{case.name} is no volume, which this bundle reads")
    series = SeriesRef(series_instance_uid="", modality="", instances=(), description=case.name)
    return Volume(case.image, case.affine, series, (), "")


def _volume(case: Case) -> tuple[Volume, npt.NDArray[np.uint8]]:
    if case.affine is None or case.mask is None:
        raise DataUnusable(f"{case.name} is no volume with a label map, which a segmentation is measured on")
    return volume_of(case), case.mask


def _label_map(answer: ModelOutput, bundle: Bundle) -> npt.NDArray[np.uint8]:
    if not isinstance(answer, LabelMap):
        raise Misconfigured(
            f"bundle {bundle.name} answered with {type(answer).__name__}; only label maps are evaluated"
        )
    return answer.array
