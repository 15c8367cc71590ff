"""The gate for a bundle without a golden case: raw network outputs on seeded noise against the reference engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle.scripts import _get_fake_spatial_shape

from wetread.bundles import Bundle
from wetread.bundles.manifest import Tolerance
from wetread.errors import BundleInvalid
from wetread.infer.compare import Agreement
from wetread.infer.engine import REFERENCE, Engine, FloatArray, backend
from wetread.infer.gate import kept_or_made
from wetread.infer.plan import NetworkPlan

REFERENCE_SERVES = "reference"
_SEED = 20240822
_TOLERANCE = Tolerance(min_agreement=0.9999, max_difference=1e-3)


def certify_without_golden(
    bundle: Bundle,
    what: Mapping[str, str],
    plans: list[NetworkPlan],
    engines: Mapping[str, Engine],
    *,
    cache_folder: Path,
) -> str:
    """Digest of the certificate, whose kind is ``synthetic``; the reference engine needs none: ``reference``.

    Raises: ``EngineDisagrees`` with the figures.
    """
    if what["engine"] == REFERENCE:
        return REFERENCE_SERVES
    shape = network_input_shape(bundle)

    def measure() -> Agreement:
        return min((_measured(plan, engines[plan.name], shape) for plan in plans), key=lambda a: a.agreement)

    certificate = kept_or_made(
        bundle.name, what, kind="synthetic", files={}, tolerance=_TOLERANCE, measure=measure, cache_folder=cache_folder
    )
    return certificate.digest()


def network_input_shape(bundle: Bundle) -> tuple[int, ...]:
    """``(1, channel, *spatial)`` that the metadata says the network takes; free sides become 64 or more.

    Raises: ``BundleInvalid`` when the metadata does not say it.
    """
    path = bundle.folder / "configs" / "metadata.json"
    inputs: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["network_data_format"].get("inputs", {})
    try:
        image = inputs.get(bundle.manifest.runtime.input_key) or next(iter(inputs.values()))
        spatial = _get_fake_spatial_shape(image["spatial_shape"], p=1, n=4, any=64)
        if min(spatial) < 32:
            spatial = _get_fake_spatial_shape(image["spatial_shape"], p=5, n=2, any=64)
        return (1, int(image["num_channels"]), *spatial)
    except (KeyError, StopIteration, TypeError, ValueError) as exc:
        raise BundleInvalid(f"{path}: network_data_format does not say what shape the network takes: {exc!r}") from exc


def _measured(plan: NetworkPlan, engine: Engine, shape: tuple[int, ...]) -> Agreement:
    image = np.random.default_rng(_SEED).normal(size=shape).astype(np.float32)
    reference = backend(REFERENCE).open_engine(plan)
    expected = reference(image)
    reference.close()
    return _compared(engine(image), expected)


def _compared(answer: FloatArray, expected: FloatArray) -> Agreement:
    """Share of voxels with the same largest channel, and the largest difference relative to the largest output."""
    scale = max(1.0, float(np.abs(expected).max()))
    return Agreement(
        agreement=float(np.mean(answer.argmax(axis=1) == expected.argmax(axis=1))),
        dice={},
        volume_change={},
        max_difference=float(np.abs(answer - expected).max()) / scale,
    )
