"""A seeded image for bundles that bring no golden case: something to run, nothing to be right about."""

from __future__ import annotations

import numpy as np

from wetread.bundles.manifest import InputRule, Manifest
from wetread.infer.gate.golden import film_of
from wetread.records.model_input import ModelInput
from wetread.records.study import SeriesRef
from wetread.records.volume import Volume

_SHAPE = (64, 96, 80)
_FILM_SHAPE = (320, 256)
_SEED = 20261122


def phantoms(manifest: Manifest) -> dict[str, ModelInput]:
    """One for each input of the bundle, by its name."""
    return {
        rule.name: _film(number) if rule.kind == "radiograph" else _phantom(rule, number)
        for number, rule in enumerate(manifest.inputs)
    }


def without_requirements(manifest: Manifest) -> Manifest:
    """A phantom has no brain, whatever the bundle requires of a patient."""
    labels = tuple(label.model_copy(update={"required": False}) for label in manifest.labels)
    return manifest.model_copy(update={"labels": labels})


def _film(number: int) -> ModelInput:
    """Two dark fields beside a bright one, with noise."""
    noise = np.random.default_rng(_SEED + number)
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, side) for side in _FILM_SHAPE), indexing="ij")
    lungs = ((np.abs(columns) - 0.45) / 0.3) ** 2 + (rows / 0.7) ** 2 < 1
    array = np.clip(np.where(lungs, 0.25, 0.7) + noise.normal(0.0, 0.03, _FILM_SHAPE), 0.0, 1.0)
    return film_of(array.astype(np.float32), label="phantom")


def _phantom(rule: InputRule, number: int) -> Volume:
    """A bright ball with noise in the air, with the spacing in the middle of what the input accepts."""
    noise = np.random.default_rng(_SEED + number)
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in _SHAPE), indexing="ij")
    ball = sum(axis**2 for axis in axes) < 0.6
    array = np.where(ball, 60.0, -1000.0 if "CT" in rule.modality else 0.0)
    array = array + noise.normal(0.0, 15.0, _SHAPE)
    spacing = [_middle(r.min, r.max) for r in (rule.slice_spacing_mm, rule.pixel_spacing_mm, rule.pixel_spacing_mm)]
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = spacing
    affine[3, 3] = 1.0
    series = SeriesRef("2.25.1", rule.modality[0], ())
    return Volume(array.astype(np.float32), affine, series, (), "2.25.2")


def _middle(low: float | None, high: float | None) -> float:
    return min(max(1.5, low or 0.0), high or 1.5)
