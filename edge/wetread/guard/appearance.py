"""Does a film look like those the bundle was trained on? Statistics of 28 × 28 pixels, in numpy alone.

Four indices, because wrong films are wrong in different ways; each has its limit from films that were left out when
its statistics were made (``learn/appearance.py``). None of them knows what disease looks like.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from wetread.bundles import Bundle
from wetread.bundles.bundle import file_sha256
from wetread.errors import BundleInvalid

SIDE = 28
QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
VERSION = "1"
_SMALLEST_DEVIATION = 1e-3
_ABOUT = "wetread.appearance"
_KEYS = ("mean", "components", "variances", "grey_mean", "grey_precision", "hidden", "hidden_bias", "out", "out_bias")

Picture = npt.NDArray[np.float32]
"""``(28, 28)``, 0 (darkest of the film) to 1 (brightest)."""
Numbers = npt.NDArray[np.float64]

SAID = {
    "grey": "its grey values are spread otherwise",
    "shape": "its shapes go beyond how those vary",
    "rest": "it shows structures that those do not have",
    "pose": "it looks upside down, turned, inverted or cut to a part",
}
"""What is unusual about a film whose index is beyond its limit."""


@dataclass(frozen=True, slots=True)
class Unlikeness:
    """How far a film is from the training films."""

    value: float
    """Of the index that is furthest out: 0 for the middle one of the training films, above 1 for what is rejected."""
    unusual: tuple[str, ...]
    """What is beyond its limit, in the words of ``SAID``; the furthest first."""


@dataclass(frozen=True, slots=True, eq=False)
class Appearance:
    """What the training films look like."""

    mean: Numbers
    """``(pixel,)`` of standardised pictures."""
    components: Numbers
    """``(component, pixel)``, orthonormal, largest variance first."""
    variances: Numbers
    """``(component,)``."""
    grey_mean: Numbers
    """``(feature,)``: the quantiles of a picture, and how like its mirror image it is."""
    grey_precision: Numbers
    """``(feature, feature)``."""
    hidden: Numbers
    """``(pixel, unit)``: a small network that was shown training films as they are and spoiled ones."""
    hidden_bias: Numbers
    out: Numbers
    """``(unit,)``."""
    out_bias: Numbers
    """``(1,)``."""
    middle: Mapping[str, float]
    """By index: of the training films that were left out, the median,"""
    limit: Mapping[str, float]
    """and what is still accepted."""

    def indices(self, pictures: npt.NDArray[np.floating[Any]]) -> dict[str, Numbers]:
        """``(film, 28, 28)`` → each index of each film, the larger the less usual."""
        flat = standardised(pictures)
        centred = flat - self.mean
        along = centred @ self.components.T
        left = np.maximum((centred**2).sum(1) - (along**2).sum(1), 1e-12)
        grey = grey_features(pictures) - self.grey_mean
        units = np.maximum(flat @ self.hidden + self.hidden_bias, 0.0)
        return {
            "grey": np.log1p(np.einsum("ni,ij,nj->n", grey, self.grey_precision, grey)),
            "shape": np.log((along**2 / self.variances).sum(1) + 1e-12),
            "rest": np.log(left),
            "pose": units @ self.out + self.out_bias[0],
        }

    def unlikeness(self, film: npt.NDArray[np.floating[Any]]) -> Unlikeness:
        """Of one film as displayed, ``(row, column)``."""
        found = {
            name: (float(values[0]) - self.middle[name]) / (self.limit[name] - self.middle[name])
            for name, values in self.indices(picture(film)[None]).items()
        }
        by_distance = sorted(found, key=lambda name: -found[name])
        unusual = tuple(SAID[name] for name in by_distance if not found[name] <= 1.0)
        return Unlikeness(found[by_distance[0]], unusual)

    def dump(self) -> bytes:
        """The statistics file (safetensors); ``read_appearance`` reads it."""
        arrays = {name: np.ascontiguousarray(getattr(self, name), np.float32) for name in _KEYS}
        scales = {name: {"middle": self.middle[name], "limit": self.limit[name]} for name in SAID}
        # One entry: safetensors writes several in an order that differs from run to run.
        return save(arrays, {_ABOUT: json.dumps({"version": VERSION, "scales": scales})})


def picture(film: npt.NDArray[np.floating[Any]]) -> Picture:
    """The square in the middle of a film, each of 28 × 28 pixels the mean of what it covers, from 0 to 1."""
    side = min(film.shape)
    top, left = ((n - side) // 2 for n in film.shape)
    cover = _cover(side)
    small = cover @ np.asarray(film[top : top + side, left : left + side], np.float64) @ cover.T
    small -= small.min()
    return (small / max(float(small.max()), 1e-6)).astype(np.float32)


def standardised(pictures: npt.NDArray[np.floating[Any]]) -> Numbers:
    """``(film, 28, 28)`` → ``(film, pixel)``, each with mean 0 and standard deviation 1: exposure says nothing."""
    flat = np.asarray(pictures, np.float64).reshape(len(pictures), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / (flat.std(1, keepdims=True) + _SMALLEST_DEVIATION)


def grey_features(pictures: npt.NDArray[np.floating[Any]]) -> Numbers:
    """``(film, 28, 28)`` → ``(film, feature)``."""
    quantiles = np.quantile(pictures.reshape(len(pictures), -1), QUANTILES, axis=1).T
    flat = standardised(pictures)
    mirrored = standardised(pictures[:, :, ::-1])
    return np.column_stack([quantiles, (flat * mirrored).mean(1)])


def read_appearance(bundle: Bundle) -> Appearance | None:
    """What the bundle's films look like; None of a bundle without a guard.

    Raises: ``BundleInvalid`` when the file is missing, not the one that the manifest names, or not such a file.
    """
    rule = bundle.manifest.guard
    return None if rule is None else _read_once(bundle.folder / rule.statistics, rule.sha256)


def check_appearance(bundle: Bundle) -> Appearance | None:
    """``read_appearance`` from the file as it is now, whatever was read before. Raises: the same."""
    rule = bundle.manifest.guard
    return None if rule is None else _read(bundle.folder / rule.statistics, rule.sha256)


@lru_cache(maxsize=8)
def _read_once(path: Path, sha256: str) -> Appearance:
    """Once for each worker: the digest stands for the content."""
    return _read(path, sha256)


def _read(path: Path, sha256: str) -> Appearance:
    if not path.is_file():
        raise BundleInvalid(f"{path} is missing; guard.statistics of the manifest names it")
    found = file_sha256(path)
    if found != sha256:
        raise BundleInvalid(f"{path} has SHA-256 {found[:16]}…, guard.sha256 of the manifest is {sha256[:16]}…")
    try:
        with safe_open(path, "numpy") as stored:
            about = json.loads((stored.metadata() or {}).get(_ABOUT, "{}"))
            if about.get("version") != VERSION:
                raise BundleInvalid(f"{path} has the version {about.get('version')!r}, expected {VERSION!r}")
            arrays = {name: np.asarray(stored.get_tensor(name), np.float64) for name in _KEYS}
            middle, limit = ({n: float(about["scales"][n][what]) for n in SAID} for what in ("middle", "limit"))
    except (SafetensorError, KeyError, ValueError) as exc:
        raise BundleInvalid(f"{path} holds no statistics of films: {exc}") from exc
    _check_sizes(path, arrays)
    for name in SAID:
        if not middle[name] < limit[name]:  # also where one is no number
            raise BundleInvalid(f"{path}: the limit of {name} is {limit[name]:g}, its middle {middle[name]:g}")
    return Appearance(**arrays, middle=middle, limit=limit)


def _check_sizes(path: Path, arrays: Mapping[str, Numbers]) -> None:
    """Raises: ``BundleInvalid`` for statistics of other pictures than ``picture`` makes, and values that are none."""
    pixels, features = SIDE**2, len(QUANTILES) + 1
    components, units = len(arrays["variances"]), len(arrays["hidden_bias"])
    expected: dict[str, tuple[int, ...]] = {
        "mean": (pixels,),
        "components": (components, pixels),
        "variances": (components,),
        "grey_mean": (features,),
        "grey_precision": (features, features),
        "hidden": (pixels, units),
        "hidden_bias": (units,),
        "out": (units,),
        "out_bias": (1,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise BundleInvalid(f"{path}: {name} has the shape {arrays[name].shape}, films of this guard need {shape}")
        if not np.isfinite(arrays[name]).all():
            raise BundleInvalid(f"{path}: {name} holds values that are not finite")


@lru_cache(maxsize=8)
def _cover(side: int) -> Numbers:
    """``(28, side)``: which share of each of ``side`` pixels lies in each of 28, rows summing to 1."""
    edges = np.linspace(0.0, side, SIDE + 1)
    low, high = np.maximum.outer(edges[:-1], np.arange(side)), np.minimum.outer(edges[1:], np.arange(side) + 1)
    share: Numbers = np.maximum(high - low, 0.0) * (SIDE / side)
    return share
