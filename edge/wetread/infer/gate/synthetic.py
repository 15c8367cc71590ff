"""The gate for a bundle without a golden case: raw network outputs on seeded noise against the reference engine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle.scripts import _get_fake_spatial_shape

from wetread.bundles import Bundle
from wetread.bundles.manifest import Tolerance
from wetread.errors import BundleInvalid
from wetread.infer.engines.engine import REFERENCE, Engine, FloatArray, backend
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.wish import Precision
from wetread.infer.gate.certificate import Certificate
from wetread.infer.gate.compare import Agreement, limits
from wetread.infer.gate.gate import Case, kept_or_made, precision_of
from wetread.infer.graph.graph_check import MIN_SAME_LABEL
from wetread.infer.graph.onnx_check import allowed_difference, noise


def certify_without_golden(
    bundle: Bundle,
    what: Mapping[str, str],
    plans: list[NetworkPlan],
    engines: Mapping[str, Engine],
    *,
    cache_folder: Path,
    make: bool = True,
) -> Certificate | None:
    """The certificate, whose kind is ``synthetic``; none for the reference engine, which needs none.

    Raises: ``EngineDisagrees`` with the figures; ``EngineNotReady`` as in ``kept_or_made``.
    """
    if what["engine"] == REFERENCE:
        return None
    shape = network_input_shape(bundle)

    precision = precision_of(what)

    def measure() -> Agreement:
        return _worst(measured(plan, engines[plan.name], shape, precision) for plan in plans)

    allowed = limits(Tolerance(), precision).model_copy(update={"min_agreement": MIN_SAME_LABEL[precision]})
    case = Case(bundle.name, "synthetic", {}, allowed, measure)
    return kept_or_made(case, what, engines=engines, cache_folder=cache_folder, make=make)


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


def measured(plan: NetworkPlan, engine: Engine, shape: tuple[int, ...], precision: Precision) -> Agreement:
    """An engine against the reference on seeded noise of ``shape``."""
    image = noise(shape)
    reference = backend(REFERENCE).open_engine(plan)
    expected = reference(image)
    reference.close()
    return _compared(engine(image), expected, precision)


def _compared(answer: FloatArray, expected: FloatArray, precision: Precision) -> Agreement:
    """Share of voxels with the same largest channel, and the largest difference in units of what is allowed."""
    unit = allowed_difference(expected, precision) / limits(Tolerance(), precision).max_difference
    return Agreement(
        agreement=float(np.mean(answer.argmax(axis=1) == expected.argmax(axis=1))),
        max_difference=float(np.abs(answer - expected).max()) / unit,
    )


def _worst(agreements: Iterable[Agreement]) -> Agreement:
    """Of several networks the smallest agreement and the largest difference."""
    each = list(agreements)
    # numpy keeps a difference that is not a number, Python's max would lose it.
    return Agreement(
        agreement=float(np.min([a.agreement for a in each])),
        max_difference=float(np.max([a.max_difference for a in each])),
    )
