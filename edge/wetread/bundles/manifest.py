"""``configs/wetread.json``: what the MONAI bundle schema does not say and a clinical system must know.

Every field is documented where it is declared; unknown fields are refused. The file belongs to the bundle and is
covered by its digest. ``packaging/manifest_reference.py`` makes JSON Schema and reference page from these classes.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from wetread.bundles.manifest_files import Golden, Licence, Runtime, Tolerance, WeightsFile, WeightsSource
from wetread.bundles.manifest_inputs import GuardRule, InputRule, PatientRule
from wetread.bundles.manifest_outputs import (
    BoxRule,
    ExplainRule,
    LabelRule,
    ScoreRule,
    UncertaintyRule,
    VolumeMeasurement,
    Words,
)
from wetread.bundles.manifest_terms import Code, Pattern, Range, Strict

__all__ = [
    "BoxRule",
    "Code",
    "ExplainRule",
    "Golden",
    "GuardRule",
    "InputRule",
    "LabelRule",
    "Licence",
    "Manifest",
    "PatientRule",
    "Pattern",
    "Range",
    "Runtime",
    "ScoreRule",
    "Tolerance",
    "UncertaintyRule",
    "VolumeMeasurement",
    "WeightsFile",
    "WeightsSource",
    "Words",
]

OUTPUTS = ("labels", "scores", "boxes")
"""The kinds of answer; a bundle has one."""


def _one_of_the_outputs(schema: dict[str, Any]) -> None:
    """In the JSON Schema: what ``_one_kind_of_output`` checks."""
    schema["oneOf"] = [{"required": [name], "properties": {name: {"minItems": 1}}} for name in OUTPUTS]


class Manifest(Strict):
    """The whole of ``configs/wetread.json``."""

    model_config = ConfigDict(json_schema_extra=_one_of_the_outputs)

    schema_version: Literal[1]
    """Version of this file's form."""
    title: str = Field(min_length=1, max_length=60)
    """What a radiologist calls it; goes into series descriptions."""
    intended_use: str
    """What it is for, as a sentence."""
    not_for: tuple[str, ...]
    """What it is not for, one entry for each."""
    clinical_use: bool
    """False: results go to a PACS only on a route with ``research = true``."""
    licence: Licence
    """What may be done with it."""
    training_data: str
    """What the model was trained with, as far as its publisher says."""
    inputs: tuple[InputRule, ...] = Field(min_length=1)
    """Which series it reads."""
    patient: PatientRule = PatientRule()
    """Whose studies it reads."""
    labels: tuple[LabelRule, ...] = ()
    """For segmentations. Exactly one of ``labels``, ``scores`` and ``boxes`` is given."""
    overlapping: bool = False
    """The output is a stack of masks, one for each label, instead of one label map."""
    ignored_values: tuple[Annotated[int, Field(ge=1, le=255)], ...] = ()
    """Values of the bundle's label map that count as background, e.g. 255 for "not looked at"."""
    scores: tuple[ScoreRule, ...] = ()
    """For classifiers."""
    boxes: tuple[BoxRule, ...] = ()
    """For detectors."""
    procedure: Code
    """Procedure Reported (121058, DCM): the imaging procedure, not the algorithm."""
    weights: tuple[WeightsFile, ...]
    """Every weight file that is loaded."""
    golden: Golden | None = None
    """A case by which every engine is measured before it serves; without one, engines are compared on noise."""
    runtime: Runtime = Runtime()
    """How the inference config is driven."""
    guard: GuardRule | None = None
    """Without it the rules of ``inputs`` and ``patient`` are all that is checked."""
    explain: ExplainRule | None = None
    """Without it scores come without a heat map."""
    uncertainty: UncertaintyRule | None = None
    """Without it nobody looks how steady scores are."""

    @model_validator(mode="after")
    def _films_are_scored(self) -> Manifest:
        if not self.scores and any(rule.kind == "radiograph" for rule in self.inputs):
            raise ValueError(
                "of radiographs only scores are read: a radiograph input goes with scores, not with labels"
            )
        return self

    @model_validator(mode="after")
    def _films_are_looked_at(self) -> Manifest:
        looking = self.guard or self.explain or self.uncertainty
        if looking and any(rule.kind != "radiograph" for rule in self.inputs):
            raise ValueError("guard, explain and uncertainty look at films: they go with radiograph inputs alone")
        return self

    @model_validator(mode="after")
    def _one_kind_of_output(self) -> Manifest:
        given = [name for name in OUTPUTS if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"exactly one of labels, scores and boxes must be given, got {given or 'none'}")
        return self

    @model_validator(mode="after")
    def _each_has_its_own(self) -> Manifest:
        """What is looked up by name or number must be there once."""
        for what, given in (
            ("inputs: the name", [rule.name for rule in self.inputs]),
            ("weights: the network", [file.network for file in self.weights]),
            ("scores: the index", [rule.index for rule in self.scores]),
            ("boxes: the label", [rule.label for rule in self.boxes]),
        ):
            twice = [value for value, times in Counter(map(str, given)).items() if times > 1]
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is there more than once")
        return self

    @model_validator(mode="after")
    def _golden_has_every_input(self) -> Manifest:
        names = [rule.name for rule in self.inputs]
        if self.golden is None:
            return self
        given = [names[0]] if isinstance(self.golden.input, str) else list(self.golden.input)
        if sorted(given) != sorted(names):
            raise ValueError(f"golden.input must name one file for each input ({', '.join(names)}), it has {given}")
        files, wanted = len(self.golden.outputs()), len(self.labels) if self.overlapping else 1
        if files != wanted:
            raise ValueError(f"golden.output names {files} files, expected {wanted}: one for each overlapping label")
        return self

    @model_validator(mode="after")
    def _labels_are_distinct(self) -> Manifest:
        values = [label.value for label in self.labels]
        if sorted(values) != list(range(1, len(values) + 1)):
            # A BINARY segmentation numbers its segments 1..n without gaps (PS3.3 C.8.20.2).
            raise ValueError(f"label values must be 1 to {len(values)} without gaps, got {values}")
        return self
