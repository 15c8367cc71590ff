"""``labels``, ``scores``, ``boxes``, ``explain``, ``uncertainty`` of ``wetread.json``: what a model's answers mean."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wetread.bundles.manifest_terms import Code, Strict

Colour = Annotated[int, Field(ge=0, le=255)]


class VolumeMeasurement(Strict):
    """Volume of a segment: voxel count × voxel volume, reported in mL."""

    kind: Literal["volume"] = "volume"
    """What is measured."""


class LabelRule(Strict):
    """One value of the label map and what it means."""

    value: int = Field(ge=1, le=255)
    """Segment number in the result; the values of a bundle count from 1 without gaps."""
    bundle_value: int | None = Field(default=None, ge=1, le=255)
    """What the bundle itself writes for it, where that is not ``value`` (BraTS writes 1, 2 and 4)."""
    name: str = Field(min_length=1, max_length=64)
    """Segment Label: what a radiologist sees."""
    role: Literal["anatomy", "finding"]
    """``anatomy``: a structure that everybody has; ``finding``: something to be reported when it is there."""
    category: Code
    """Segmented Property Category, CID 7150."""
    type: Code
    """Segmented Property Type."""
    laterality: Code | None = None
    """CID 244: 7771000 Left, 24028007 Right, 51440002 Right and left."""
    site: Code | None = None
    """Where an abnormality lies, e.g. (39607008, SCT, Lung); an anatomical structure is its own site."""
    colour_rgb: tuple[Colour, Colour, Colour]
    """Red, green and blue, in overlay pictures and as the segment's recommended colour."""
    measurements: tuple[VolumeMeasurement, ...] = (VolumeMeasurement(),)
    """What is measured of it."""
    required: bool = False
    """An empty segment of this value means the model failed (a head without a brain), not that there is nothing."""


class Words(Strict):
    """How a person calls scores from here up to the next step."""

    at_least: float = Field(ge=0.0, le=1.0)
    """The least score that is called so."""
    words: str = Field(min_length=1, max_length=40)
    """E.g. ``unlikely``."""


class ScoreRule(Strict):
    """One output of a classifier and what it means."""

    name: str = Field(min_length=1, max_length=64)
    """What a radiologist sees."""
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


class BoxRule(Strict):
    """One class of a detector and what it means."""

    name: str = Field(min_length=1, max_length=64)
    """What a radiologist sees."""
    label: int = Field(ge=0)
    """Number of the class, as the network counts."""
    category: Code
    """Finding category, CID 7150."""
    type: Code
    """Finding, e.g. (27925004, SCT, Nodule)."""
    site: Code | None = None
    """Where such findings lie, e.g. (39607008, SCT, Lung)."""
    colour_rgb: tuple[Colour, Colour, Colour]
    """Red, green and blue, in overlay pictures."""
    score_threshold: float = Field(ge=0.0, le=1.0)
    """Boxes with a lower score are not reported."""


class ExplainRule(Strict):
    """How the bundle's scores are explained as a heat map."""

    method: Literal["gradcam", "gradcam++", "rollout", "occlusion"]
    """``rollout`` is of attention; ``occlusion`` works with every engine, the others need the torch network."""
    layer: str = ""
    """Of the network, as ``named_modules`` calls it; required for ``gradcam`` and ``gradcam++``."""
    parametric_map: bool = False
    """Every read also gives the heat map as a DICOM Parametric Map; without it, where a route asks for it."""

    @model_validator(mode="after")
    def _has_a_layer(self) -> ExplainRule:
        if self.method.startswith("gradcam") and not self.layer:
            raise ValueError(f"{self.method} needs the layer it looks at")
        return self


class UncertaintyRule(Strict):
    """How steady scores are: the image as the network gets it, changed at random in ways that change nothing of what it
    shows, is scored again ``times`` times. Every number is the most that happens; at least one is not 0."""

    times: int = Field(default=16, ge=2, le=128)
    """How many changed copies, asked in one run."""
    rotation_degrees: float = Field(default=0.0, ge=0.0, le=45.0)
    """To either side, about the middle."""
    shift: float = Field(default=0.0, ge=0.0, le=0.25)
    """To either side and up or down, as a share of the image's side."""
    zoom: float = Field(default=0.0, ge=0.0, le=0.5)
    """Larger or smaller, as a share: 0.05 is from 0.95 to 1.05 times."""
    brightness: float = Field(default=0.0, ge=0.0, le=0.5)
    """Added or taken away, as a share of the image's own range of grey values."""
    gamma: float = Field(default=0.0, ge=0.0, le=1.0)
    """Natural logarithm of the exponent that bends the grey values, as exposure and processing do."""
    seed: int = Field(default=0, ge=0)
    """The same seed draws the same changes for every image, so that a read can be repeated."""

    @model_validator(mode="after")
    def _changes_something(self) -> UncertaintyRule:
        if not any((self.rotation_degrees, self.shift, self.zoom, self.brightness, self.gamma)):
            raise ValueError("uncertainty changes nothing: give at least one of rotation_degrees, shift, zoom, ...")
        return self
