"""``wetread bundle evaluate`` of a detector: read as a study is read, compared with a person's boxes (FROC)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wetread.bundles import Bundle
from wetread.errors import DataUnusable, Misconfigured
from wetread.learn.box_measures import Matched, box_figures, matched
from wetread.learn.cases import Cases, Part
from wetread.learn.evaluate_masks import volume_of
from wetread.learn.mask_measures import Froc, froc
from wetread.learn.measured import HowRead, Measured, means, measurable, told
from wetread.learn.measures import Figure
from wetread.learn.sources import Source
from wetread.records.numbers import number_of
from wetread.records.output import Boxes


@dataclass(frozen=True, slots=True)
class ClassEvaluation:
    """One class of the detector."""

    name: str
    score_threshold: float
    """The curve ends there: the bundle says nothing about boxes with a lower score."""
    cases: tuple[tuple[str, Matched], ...]
    """With the name of the case, which two may share."""
    froc: Froc | None
    """None where no image holds such a box."""
    figures: Mapping[str, Figure]
    """With bootstrap intervals over the images."""

    @property
    def targets(self) -> int:
        """Boxes that were to be found, in all images."""
        return sum(of.targets for _, of in self.cases)

    @property
    def detections(self) -> int:
        """Boxes that the bundle gave, in all images."""
        return sum(len(of.scores) for _, of in self.cases)


@dataclass(frozen=True, slots=True, eq=False)
class BoxEvaluation(Measured):
    """Of a detector."""

    classes: tuple[ClassEvaluation, ...]

    def document(self) -> Mapping[str, object]:
        """Means over the classes at the top; curve, figures and images of each class below."""
        return {
            **self.heading(),
            **means([one.figures for one in self.classes]),
            "classes": [_class_document(one) for one in self.classes],
        }

    def in_words(self) -> Mapping[str, Sequence[str]]:
        """Each class with its figures."""
        return {
            one.name: [
                f"boxes to be found: {one.targets}, in {number_of(self.n, 'image')}; detections: {one.detections}",
                *(f"{name} {figure}" for name, figure in one.figures.items()),
            ]
            for one in self.classes
        }


def evaluate_boxes(bundle: Bundle, data: Path | Source, how: HowRead, *, part: Part | None = None) -> BoxEvaluation:
    """Read every volume of a folder with ``cases.csv`` and compare with its table of boxes.

    Raises: ``DataUnusable``, ``Misconfigured``, and what ``open_model`` and a read raise.
    """
    rules = bundle.manifest.boxes
    source, name, cases = measurable(bundle, data, part, answers=rules, kind="detector")
    if not any(case.boxes for case in cases):
        raise DataUnusable(f"no image of the {name} part holds a box: there is nothing that could be found or missed")
    name_of_input = bundle.manifest.inputs[0].name
    with how.opened(bundle) as model:
        said = [_boxes(model.run({name_of_input: volume_of(case)}), bundle) for case in told(cases, how.progress)]
        identity = model.identity
    how.progress("resampling", 1.0)
    classes = tuple(_measured(rule.name, rule.label, rule.score_threshold, cases, said) for rule in rules)
    return BoxEvaluation(bundle, identity, source, name, len(cases), classes)


def _measured(name: str, label: int, threshold: float, cases: Cases, said: Sequence[Boxes]) -> ClassEvaluation:
    each = []
    for case, answer in zip(cases, said, strict=True):
        targets = [box for box in case.boxes or () if box.label == label]
        each.append(matched([box for box in answer.boxes if box.label == label], targets))
    curve = froc([of.detections() for of in each]) if any(of.targets for of in each) else None
    named = tuple((case.name, of) for case, of in zip(cases, each, strict=True))
    return ClassEvaluation(name, threshold, named, curve, box_figures(each))


def _class_document(one: ClassEvaluation) -> dict[str, object]:
    curve = one.froc
    return {
        "name": one.name,
        "score_threshold": one.score_threshold,
        "targets": one.targets,
        "detections": one.detections,
        "figures": {name: figure.value for name, figure in one.figures.items()},
        "intervals_95": {name: [figure.low, figure.high] for name, figure in one.figures.items()},
        "froc": None
        if curve is None
        else {
            "false_positives_per_image": np.round(curve.false_positives, 6).tolist(),
            "sensitivity": np.round(curve.sensitivity, 6).tolist(),
        },
        "cases": [
            {"name": name, "targets": of.targets, "found": of.found, "false_positives": of.false}
            for name, of in one.cases
        ],
    }


def _boxes(answer: object, bundle: Bundle) -> Boxes:
    if not isinstance(answer, Boxes):
        raise Misconfigured(f"bundle {bundle.name} answered with {type(answer).__name__}, expected boxes")
    return answer
