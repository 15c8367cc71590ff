"""OpenVINO on the CPU: exported once to ONNX, compiled for the shape that is asked for, its precision pinned."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wetread.errors import EngineUnavailable
from wetread.infer.engines.engine import FloatArray, checked_images, checked_input
from wetread.infer.engines.openvino_graph import pack_upsampling
from wetread.infer.engines.openvino_norms import steady_norms
from wetread.infer.engines.plan import NetworkPlan, Precision
from wetread.infer.graph.export import exported


class OpenVinoEngine:
    """Keeps one compiled model, for the spatial shape last asked for.

    Left alone, OpenVINO computes in bfloat16 on CPUs that have it, which a golden mask may not show: the precision is
    pinned and read back.
    """

    name = "openvino"
    device = "CPU"
    where = torch.device("cpu")

    def __init__(self, plan: NetworkPlan) -> None:
        self.library_version = library_version()
        self.precision: Precision = plan.precision
        self._plan = plan
        self._core: Any = _library().Core()
        self._compiled: Any = None
        self._shape: tuple[int, ...] = ()
        self._streams = 0

    def __call__(self, array: FloatArray) -> FloatArray:
        """The network's answer; the first call with a new spatial shape exports and compiles."""
        if self._core is None:
            raise RuntimeError("the OpenVINO engine is closed")
        array = checked_input(array)
        streams = min(self._plan.threads, len(array))
        if self._shape != array.shape[1:] or self._streams < streams:
            self._compiled = None
            self._compiled = self._compile(array.shape, streams)
            self._shape, self._streams = array.shape[1:], streams
        return self._answers(array)

    def on_device(self, images: Tensor) -> Tensor:
        """As a call, for a tensor in host memory, which is shared and not copied."""
        return torch.from_numpy(self(checked_images(images, self.where).detach().numpy()))

    def _answers(self, array: FloatArray) -> FloatArray:
        """Row by row, as many at once as there are streams: threads that share no row do not wait for one another."""
        # Requests of this call, so that activations are freed between the networks of a bundle.
        requests = [self._compiled.create_infer_request() for _ in range(min(self._streams, len(array)))]
        answers = np.empty((len(array), *self._compiled.output(0).shape[1:]), np.float32)
        for first in range(0, len(array), len(requests)):
            rows = range(first, min(first + len(requests), len(array)))
            begun = list(zip(rows, requests, strict=False))
            for row, request in begun:
                request.set_output_tensor(0, _library().Tensor(answers[row : row + 1], shared_memory=True))
                request.start_async([array[row : row + 1]], share_inputs=True)
            for _row, request in begun:
                request.wait()
        return answers

    def artefacts(self) -> dict[str, str]:
        """Nothing compiled is kept."""
        return {}

    def close(self) -> None:
        """Free the compiled model."""
        self._compiled = self._core = None

    def _compile(self, shape: tuple[int, ...], streams: int) -> Any:
        options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "EXECUTION_MODE_HINT": "ACCURACY" if self.precision == "f32" else "PERFORMANCE",
            "INFERENCE_NUM_THREADS": self._plan.threads,
            "NUM_STREAMS": streams,
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        try:
            model = self._core.read_model(exported(self._plan, shape).path)
            model.reshape([1, *shape[1:]])  # 10 to 15 % faster than with a batch that may be anything
            pack_upsampling(model)
            if self.precision == "f32":  # in bf16 the means would be rounded to eight bits on their way
                steady_norms(model)
            compiled = self._core.compile_model(model, self.device, options)
        except RuntimeError as exc:
            raise EngineUnavailable(f"OpenVINO cannot run the network {self._plan.name}: {exc}") from exc
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != self.precision:
            raise EngineUnavailable(f"OpenVINO would compute in {used}, {self.precision} was asked for")
        return compiled


def library_version() -> str:
    """OpenVINO's version with its build. Raises: ``EngineUnavailable``."""
    return str(_library().get_version())


def device() -> str:
    """Where it runs."""
    return "CPU"


def open_engine(plan: NetworkPlan) -> OpenVinoEngine:
    """Prepare an engine; nothing is compiled before the first call. Raises: ``EngineUnavailable``."""
    if plan.precision == "f16":
        raise EngineUnavailable("OpenVINO computes in f32 or bf16 on a CPU, not in f16")
    return OpenVinoEngine(plan)


def _library() -> Any:
    # Importing OpenVINO reports the use to a service on the internet, from a forked process, unless this package is
    # missing; then it puts a stub in its place. A hospital's box reports nothing.
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as exc:
        raise EngineUnavailable(f"the package openvino is not installed ({exc}); pip install 'wetread[edge]'") from exc
    return openvino
