"""OpenVINO on the CPU: exported once to ONNX, compiled for the shape that is asked for, its precision pinned."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wetread.errors import EngineUnavailable
from wetread.extras import how_to_install
from wetread.infer.engines.engine import FloatArray, checked_images, checked_input
from wetread.infer.engines.openvino_fine import pack_convolutions, spread_late
from wetread.infer.engines.openvino_graph import pack_upsampling, pair_voxels
from wetread.infer.engines.openvino_masks import answer_with_mask, spread
from wetread.infer.engines.openvino_norms import steady_norms
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.wish import Precision
from wetread.infer.graph.export import exported


@dataclass(slots=True)
class _Form:
    """The network compiled for one spatial shape and one kind of answer."""

    compiled: Any
    shape: tuple[int, ...]
    """``(channel, *spatial)``."""
    streams: int
    coarse: bool
    """Whether its masks are to be spread over a finer grid."""
    requests: list[Any] = field(default_factory=list)
    """As many as rows were asked at once; each holds the activations of one row."""


class OpenVinoEngine:
    """Keeps one compiled model for each kind of answer, for the spatial shape last asked for.

    Left alone, OpenVINO computes in bfloat16 on CPUs that have it, which a golden mask may not show: the precision is
    pinned and read back. Activations stay allocated from one call to the next: the kernel fills fresh memory with
    zeros, which took a tenth to a third of the time of a large network. ``rest`` gives them back.
    """

    name = "openvino"
    device = "CPU"
    where = torch.device("cpu")

    def __init__(self, plan: NetworkPlan) -> None:
        self.library_version = library_version()
        self.precision: Precision = plan.precision
        self._plan = plan
        self._core: Any = _library().Core()
        self._forms: dict[bool, _Form] = {}
        """By whether they answer with a mask."""

    def __call__(self, array: FloatArray) -> FloatArray:
        """The network's answer; the first call with a new spatial shape exports and compiles."""
        return self._answers(array, np.dtype(np.float32), mask=False)

    def on_device(self, images: Tensor) -> Tensor:
        """As a call, for a tensor in host memory, which is shared and not copied."""
        return torch.from_numpy(self(checked_images(images, self.where).detach().numpy()))

    def masks(self, images: Tensor) -> Tensor:
        """Where the second of two channels is the larger: uint8 ``(batch, 1, *spatial)`` of 0 and 1.

        Raises: ``EngineUnavailable`` for a network that does not answer with two channels.
        """
        array = checked_images(images, self.where).detach().numpy()
        answers = self._answers(array, np.dtype(np.uint8), mask=True)
        if not self._forms[True].coarse:
            return torch.from_numpy(answers)
        fine = np.empty((len(answers), 1, *(2 * n for n in answers.shape[1:-1])), np.uint8)
        for coarse, mask in zip(answers, fine[:, 0], strict=True):
            spread(coarse, mask)
        return torch.from_numpy(fine)

    def rest(self) -> None:
        """Give back the memory that is kept between calls only because the next one is faster with it."""
        for form in self._forms.values():
            form.requests.clear()

    def _answers(self, array: FloatArray, kind: np.dtype[Any], *, mask: bool) -> npt.NDArray[Any]:
        """Row by row, as many at once as there are streams: threads that share no row do not wait for one another."""
        if self._core is None:
            raise RuntimeError("the OpenVINO engine is closed")
        array = checked_input(array)
        form = self._form(array.shape, mask=mask)
        answers = np.empty((len(array), *form.compiled.output(0).shape[1:]), kind)
        at_once = min(form.streams, len(array))
        while len(form.requests) < at_once:
            form.requests.append(form.compiled.create_infer_request())
        for first in range(0, len(array), at_once):
            rows = range(first, min(first + at_once, len(array)))
            begun = list(zip(rows, form.requests, strict=False))
            for row, request in begun:
                request.set_output_tensor(0, _library().Tensor(answers[row : row + 1], shared_memory=True))
                request.start_async([array[row : row + 1]], share_inputs=True)
            for _row, request in begun:
                request.wait()
        return answers

    def _form(self, shape: tuple[int, ...], *, mask: bool) -> _Form:
        streams, form = min(self._plan.threads, shape[0]), self._forms.get(mask)
        if form is None or form.shape != shape[1:] or form.streams < streams:
            self._forms.pop(mask, None)  # before the next one takes memory
            form = self._forms[mask] = self._compile(shape, streams, mask=mask)
        return form

    def artefacts(self) -> dict[str, str]:
        """Nothing compiled is kept."""
        return {}

    def close(self) -> None:
        """Free the compiled models."""
        self._forms.clear()
        self._core = None

    def _compile(self, shape: tuple[int, ...], streams: int, *, mask: bool) -> _Form:
        options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "EXECUTION_MODE_HINT": "ACCURACY" if self.precision == "f32" else "PERFORMANCE",
            "INFERENCE_NUM_THREADS": self._plan.threads,
            "NUM_STREAMS": streams,
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        try:
            model, coarse = self._model(shape, mask=mask)
            compiled = self._core.compile_model(model, self.device, options)
        except RuntimeError as exc:
            raise EngineUnavailable(f"OpenVINO cannot run the network {self._plan.name}: {exc}") from exc
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != self.precision:
            raise EngineUnavailable(f"OpenVINO would compute in {used}, {self.precision} was asked for")
        return _Form(compiled, shape[1:], streams, coarse)

    def _model(self, shape: tuple[int, ...], *, mask: bool) -> tuple[Any, bool]:
        model = self._core.read_model(exported(self._plan, shape).path)
        model.reshape([1, *shape[1:]])  # 10 to 15 % faster than with a batch that may be anything
        pack_upsampling(model)
        pair_voxels(model)
        pack_convolutions(model)
        spread_late(model)
        if self.precision == "f32":  # in bf16 the means would be rounded to eight bits on their way
            steady_norms(model)
        coarse = answer_with_mask(model) if mask else False
        if coarse is None:
            raise EngineUnavailable(f"the network {self._plan.name} does not answer with two channels")
        return model, coarse


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
        raise EngineUnavailable(f"the package openvino is not installed ({exc}); {how_to_install('edge')}") from exc
    return openvino
