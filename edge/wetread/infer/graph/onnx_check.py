"""Does the exported graph say what the network says? Asked on the CPU, before any engine may use it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from wetread.errors import EngineUnavailable
from wetread.extras import how_to_install
from wetread.infer.engines.engine import FloatArray
from wetread.infer.engines.plan import Answering, Judge
from wetread.infer.engines.wish import Precision
from wetread.infer.graph.graph_check import Fingerprint, GraphCheck
from wetread.infer.graph.onnx_half import emulated

_SEED = 20240822
_SAMPLES = 2048
_SHARE_SPARED = 2e-3
"""Of the sampled places, for kernels that round in another order than the CPU."""
_BATCH_OF_TWO_UP_TO = 96**3 * 4
"""Input values of one image; above it only one at a time is tried, for the sake of memory."""


def noise(shape: Sequence[int]) -> FloatArray:
    """Seeded normal noise, the same on every machine."""
    return np.random.default_rng(_SEED).normal(size=tuple(shape)).astype(np.float32)


def allowed_difference(expected: FloatArray, precision: Precision) -> float:
    """How far an output of this precision may be off: 1e-3 of the largest; half and bfloat16 of the spread."""
    if precision == "f32":
        return 1e-3 * max(1.0, float(np.abs(expected).max()))
    share, least = {"f16": (2e-2, 5e-3), "bf16": (2e-1, 2e-2)}[precision]
    return max(share * float(expected.std()), least)


def check_graph(
    path: Path,
    shape: tuple[int, ...],
    *,
    sha256: str,
    precision: Precision,
    reference: Answering,
    threads: int,
    judge: Judge | None = None,
) -> GraphCheck:
    """Compare the graph with the reference on noise of ``shape`` (the first axis is ignored), and let ``judge`` say.

    Raises: ``EngineUnavailable`` when ONNX Runtime is not installed or cannot run the graph.
    """
    images = _questions(shape)
    one = (1, *images.shape[1:])
    graph = _Graph(path, threads, rounding=precision == "f16")
    judged = judge(graph, one) if judge else None
    answer = graph(images)
    expected = np.concatenate([reference(images[k : k + 1]) for k in range(len(images))])
    if answer.shape != expected.shape:
        raise EngineUnavailable(f"the exported graph answers with {answer.shape}, the network with {expected.shape}")
    near = _nearness(answer, expected, allowed_difference(expected, precision))
    return GraphCheck(
        sha256=sha256,
        precision=precision,
        checked_with=runtime_version(),
        share_within=near.share_within,
        max_difference=near.max_difference,
        same_label=near.same_label,
        batch=len(images),
        fingerprint=_fingerprint(one, expected[0], near),
        task=judged.measured if judged else None,
        task_problem=judged.problem if judged else "",
    )


def _questions(shape: Sequence[int]) -> FloatArray:
    """One image of noise for the graph, or two where memory allows: the second shows that the batch is free."""
    image = noise((1, *shape[1:]))
    return np.concatenate([image, image[:, :, ::-1]]) if image.size <= _BATCH_OF_TWO_UP_TO else image


@dataclass(frozen=True, slots=True)
class _Nearness:
    limit: float
    share_within: float
    max_difference: float
    same_label: float


def _nearness(answer: FloatArray, expected: FloatArray, limit: float) -> _Nearness:
    """How far ``answer`` is from ``expected``; it is overwritten, for the sake of memory."""
    same_label = float(np.mean(answer.argmax(axis=1) == expected.argmax(axis=1)))
    off = np.abs(np.subtract(answer, expected, out=answer), out=answer)
    return _Nearness(limit, float(np.mean(off <= limit)), float(off.max()), same_label)


def _fingerprint(shape: tuple[int, ...], expected: FloatArray, near: _Nearness) -> Fingerprint:
    """Of one image's reference outputs."""
    places = np.sort(np.random.default_rng(_SEED).choice(expected.size, min(_SAMPLES, expected.size), False))
    return Fingerprint(
        shape=shape,
        places=tuple(places.tolist()),
        values=tuple(expected.ravel()[places].tolist()),
        limit=near.limit,
        min_share=_least_share(near.share_within, len(places)),
    )


def _least_share(share: float, places: int) -> float:
    """How many of the sampled places must be within if the graph as a whole has ``share``: four deviations fewer."""
    deviation = (share * (1 - share) / max(places, 1)) ** 0.5
    return max(0.0, share - 4 * deviation - _SHARE_SPARED)


def runtime_version() -> str:
    """ONNX Runtime's version. Raises: ``EngineUnavailable``."""
    return f"onnxruntime {_library().__version__}"


class _Graph:
    """The graph as a function, answered by ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int, *, rounding: bool) -> None:
        """``rounding``: every tensor of a half graph is rounded as a GPU would. Raises: ``EngineUnavailable``."""
        runtime = _library()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False  # the memory is given back after each question
        options.log_severity_level = 4
        source = emulated(onnx.load(path)).SerializeToString() if rounding else str(path)
        try:
            self._session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as exc:  # its errors (Fail, InvalidGraph, ...) have no common base of their own
            raise EngineUnavailable(f"ONNX Runtime cannot load the exported graph: {exc}") from exc

    def __call__(self, images: FloatArray) -> FloatArray:
        (name,) = (i.name for i in self._session.get_inputs())
        try:
            return np.array(self._session.run(None, {name: images})[0], np.float32)
        except Exception as exc:  # as above: Fail, InvalidArgument and the others derive from Exception alone
            raise EngineUnavailable(
                f"ONNX Runtime cannot run the exported graph on {len(images)} images: {exc}"
            ) from exc


def _library() -> Any:
    # Its Linux builds report usage and leave a session file in the temporary folder; a hospital's box does neither.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as exc:
        raise EngineUnavailable(
            f"the package onnxruntime, which checks exported graphs, is not installed ({exc}); {how_to_install('edge')}"
        ) from exc
