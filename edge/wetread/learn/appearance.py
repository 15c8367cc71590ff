"""What a bundle's guard knows about its training films: statistics, and how much they may be exceeded."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from wetread.bundles import Bundle
from wetread.errors import DataUnusable
from wetread.guard.appearance import SAID, SIDE, Appearance, Numbers, grey_features, picture, standardised
from wetread.learn.card import record_figures
from wetread.learn.lineage import METRICS
from wetread.learn.sources import read_source

STATISTICS = "models/appearance.safetensors"
FEWEST = 100
"""Of fewer films nobody can say what one in fifty looks like."""
FALSE_REJECTION = 0.035
"""Share of films like those it was made from that the guard may refuse; chosen on films that were left out."""
_SHARES = {"grey": 1.0, "shape": 1.0, "rest": 1.0, "pose": 4.0}
"""What is of another kind is far beyond the limits; a part of a film, or one upside down, is near."""
_SURELY_NOT_SPOILED = -1.0
"""Of ``pose``, the network's log odds: below, no film is refused for it, however few there were to learn from."""
_COMPONENTS = 40
_FOLDS = 3
_UNITS = 64
_EPOCHS = 16
_ROUNDS = 3
_KEY = "guard"

Pictures = npt.NDArray[np.float32]
"""``(film, 28, 28)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Statistics, and how they were arrived at."""

    appearance: Appearance
    films: int
    left_out: float
    """Share of the training films that were refused by statistics made without them."""
    validation: float | None = None
    """Share of the validation part that is refused; it decided nothing."""

    def document(self) -> dict[str, Any]:
        """For ``training/metrics.json``."""
        return {
            "films": self.films,
            "false_rejection_left_out": round(self.left_out, 4),
            "false_rejection_validation": None if self.validation is None else round(self.validation, 4),
        }


def learn_appearance(
    films: Sequence[npt.NDArray[np.float32]], *, seed: int, validation: Sequence[npt.NDArray[np.float32]] = ()
) -> Learned:
    """From films as displayed, ``(row, column)``. Raises: ``DataUnusable`` for too few."""
    if len(films) < FEWEST:
        raise DataUnusable(f"a guard needs at least {FEWEST} training films to know what is usual, got {len(films)}")
    pictures = np.stack([picture(film) for film in films])
    with threadpool_limits(1):  # many small products: more threads would wait for one another
        middle, limit, left_out = _limits(pictures, seed)
        appearance = _statistics(pictures, seed, middle, limit)
    held = [appearance.unlikeness(film).value > 1.0 for film in validation]
    return Learned(appearance, len(films), left_out, float(np.mean(held)) if held else None)


def guard_from(bundle: Bundle, data: Path, *, seed: int) -> Learned:
    """From the training part of ``data``, or from all of what is in no part. Raises: ``DataUnusable``."""
    if any(rule.kind != "radiograph" for rule in bundle.manifest.inputs):
        raise DataUnusable(f"{bundle.name} reads volumes; a guard looks at films")
    source = read_source(data, bundle.manifest)
    train = source.parts.get("train", ()) or source.unsplit
    return learn_appearance(
        [case.image for case in train], seed=seed, validation=[case.image for case in source.parts.get("val", ())]
    )


def guard_again(bundle: Bundle, learned: Learned) -> None:
    """Put another guard into a bundle, with its figures where those of its training are."""
    write_guard(bundle.folder, learned)
    if (bundle.folder / METRICS).is_file():
        record_figures(bundle.folder, _KEY, learned.document())


def write_guard(folder: Path, learned: Learned) -> None:
    """Put the statistics into a bundle's folder and name them in its ``wetread.json``."""
    content = learned.appearance.dump()
    path = folder / STATISTICS
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    manifest_path = folder / "configs" / "wetread.json"
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    manifest[_KEY] = {"statistics": STATISTICS, "sha256": hashlib.sha256(content).hexdigest()}
    manifest_path.write_text(json.dumps(manifest, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


def _limits(pictures: Pictures, seed: int) -> tuple[dict[str, float], dict[str, float], float]:
    """Middle and limit of each index, and the share that is refused, of films that statistics were made without.

    Together the indices refuse ``FALSE_REJECTION``; ``_SHARES`` says how much of that each may.
    """
    found: dict[str, list[Numbers]] = {name: [] for name in SAID}
    anything = dict.fromkeys(SAID, 0.0)
    for train, left in KFold(_FOLDS, shuffle=True, random_state=seed).split(pictures):
        for name, values in _statistics(pictures[train], seed, anything, anything).indices(pictures[left]).items():
            found[name].append(values)
    values = np.stack([np.concatenate(found[name]) for name in SAID])
    shares = np.array([_SHARES[name] for name in SAID])
    rarity = 1.0 - values.argsort(1).argsort(1) / values.shape[1]  # of as large a value among these films
    share = float(np.quantile((rarity / shares[:, None]).min(0), FALSE_REJECTION))
    limits = np.array([np.quantile(v, 1.0 - share * s) for v, s in zip(values, shares, strict=True)])
    limits[list(SAID).index("pose")] = max(limits[list(SAID).index("pose")], _SURELY_NOT_SPOILED)
    refused = float((values > limits[:, None]).any(0).mean())
    middles = np.median(values, axis=1)
    return dict(zip(SAID, map(float, middles), strict=True)), dict(zip(SAID, map(float, limits), strict=True)), refused


def _statistics(pictures: Pictures, seed: int, middle: Mapping[str, float], limit: Mapping[str, float]) -> Appearance:
    flat = standardised(pictures)
    pca = PCA(min(_COMPONENTS, len(pictures) // 4), random_state=seed).fit(flat)
    grey = grey_features(pictures)
    spread = LedoitWolf().fit(grey)
    hidden, hidden_bias, out, out_bias = _spoiling_seen(pictures, seed)
    return Appearance(
        mean=pca.mean_,
        components=pca.components_,
        variances=pca.explained_variance_,
        grey_mean=grey.mean(0),
        grey_precision=spread.precision_,
        hidden=hidden,
        hidden_bias=hidden_bias,
        out=out,
        out_bias=out_bias,
        middle=middle,
        limit=limit,
    )


def _spoiling_seen(pictures: Pictures, seed: int) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Weights of a network that tells films as they are, a little moved or not, from spoiled ones."""
    random = np.random.default_rng(seed)
    usual = [pictures, *(np.stack([_moved(p, random) for p in pictures]) for _ in range(_ROUNDS - 1))]
    spoiled = [np.stack([spoil(p, random) for p in pictures]) for _ in range(_ROUNDS)]
    network = MLPClassifier(
        (_UNITS,),
        alpha=1e-2,
        batch_size=min(256, len(pictures)),
        learning_rate_init=2e-3,
        max_iter=_EPOCHS,
        random_state=seed,
    )
    labels = np.repeat([0, 1], _ROUNDS * len(pictures))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped early on purpose
        network.fit(standardised(np.concatenate([*usual, *spoiled])), labels)
    (hidden, out), (hidden_bias, out_bias) = network.coefs_, network.intercepts_
    return hidden, hidden_bias, out[:, 0], out_bias


def spoil(film: Pictures, random: np.random.Generator) -> Pictures:
    """One picture ``(28, 28)`` as it should not come: upside down, turned, inverted, a part of it, or moved away."""
    return _SPOILERS[int(random.integers(len(_SPOILERS)))](film, random)


def _upside_down(film: Pictures, random: np.random.Generator) -> Pictures:
    return film[::-1] if random.random() < 0.5 else film[::-1, ::-1]


def _quarter_turn(film: Pictures, random: np.random.Generator) -> Pictures:
    return np.rot90(film, random.choice([1, 3]))


def _inverted(film: Pictures, random: np.random.Generator) -> Pictures:
    return (1.0 - film).astype(np.float32)


def _part(film: Pictures, random: np.random.Generator) -> Pictures:
    zoom = random.uniform(0.35, 0.68)
    reach = (1.0 - zoom) * (SIDE - 1) / 2
    return _warped(film, zoom, random.uniform(-8, 8), random.uniform(-reach, reach, 2))


def _turned(film: Pictures, random: np.random.Generator) -> Pictures:
    degrees = random.choice([-1, 1]) * random.uniform(25, 155)
    return _warped(film, random.uniform(0.8, 1.2), degrees, random.uniform(-2, 2, 2))


def _away(film: Pictures, random: np.random.Generator) -> Pictures:
    return _warped(film, random.uniform(0.8, 1.2), 0.0, random.choice([-1, 1], 2) * random.uniform(6, 12, 2))


_SPOILERS: tuple[Callable[[Pictures, np.random.Generator], Pictures], ...] = (
    _upside_down,
    _quarter_turn,
    _inverted,
    _part,
    _part,
    _part,  # the hardest to tell
    _turned,
    _away,
)


def _moved(film: Pictures, random: np.random.Generator) -> Pictures:
    """As another technician might have placed it; also: resampled, so that smoothness alone betrays no spoiling."""
    return _warped(film, random.uniform(0.88, 1.12), random.uniform(-10, 10), random.uniform(-2, 2, 2))


def _warped(film: Pictures, zoom: float, degrees: float, shift: Numbers) -> Pictures:
    """Turned about its middle, in which ``zoom`` of its width is seen; beyond its border the border goes on."""
    angle, middle = np.deg2rad(degrees), np.full(2, (SIDE - 1) / 2)
    matrix = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = middle + shift - matrix @ middle
    return np.asarray(affine_transform(film, matrix, offset=offset, order=1, mode="nearest"), np.float32)
