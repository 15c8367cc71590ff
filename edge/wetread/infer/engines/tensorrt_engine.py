"""TensorRT 10 and 11 and TensorRT-RTX behind the engine seam: find or build the engine, prove it here, keep it warm."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wetread.errors import EngineDisagrees, EngineNotReady, EngineUnavailable
from wetread.infer.engines import tensorrt_memory
from wetread.infer.engines.cache import Entry, entries, find_entry, store_entry
from wetread.infer.engines.engine import FloatArray, checked_images, checked_input
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.tensorrt_build import OPTIONS, batches, build_engine
from wetread.infer.engines.tensorrt_library import TENSORRT as _TENSORRT
from wetread.infer.engines.tensorrt_library import TENSORRT_RTX as _TENSORRT_RTX
from wetread.infer.engines.tensorrt_library import Library, capability
from wetread.infer.engines.tensorrt_memory import DeviceMemory, Gpu
from wetread.infer.engines.tensorrt_session import Session
from wetread.infer.engines.uses import MARK, hold
from wetread.infer.files import translated
from wetread.infer.graph.export import exported, graph_recipe
from wetread.infer.graph.onnx_check import noise


class TensorRtEngine:
    """Keeps one session (engine, context, buffers, CUDA graph) warm, for the spatial shape last asked for.

    A session serves only after it gave the reference's outputs on this GPU at the places that were noted when the graph
    was checked; this is repeated at every start.
    """

    def __init__(self, plan: NetworkPlan, backend: TensorRtBackend, memory: DeviceMemory) -> None:
        self.name = backend.library.engine
        self.precision = plan.precision
        self.library_version = backend.library_version()
        self.device = str(memory.gpu)
        self.where = memory.where
        self._plan = plan
        self._backend = backend
        self._memory: DeviceMemory | None = memory
        self._session: Session | None = None
        self._answered: dict[str, str] = {}

    def __call__(self, array: FloatArray) -> FloatArray:
        """The network's answer; the first call with a new spatial shape loads or builds an engine."""
        array = checked_input(array)
        session = self._session_for(array.shape)
        parts = [session.run(array[k : k + session.most]).numpy() for k in range(0, len(array), session.most)]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def on_device(self, images: Tensor) -> Tensor:
        """As a call, for float32 images that are on the GPU already; the answer is a new tensor there."""
        session = self._session_for(tuple(checked_images(images, self.where).shape))
        parts = [session.run(part, to_host=False) for part in images.split(session.most)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def artefacts(self) -> dict[str, str]:
        """The engines that were proven here so far."""
        return dict(self._answered)

    def close(self) -> None:
        """Free the engine, its context and buffers."""
        self._let_go()
        self._memory = None

    def _session_for(self, shape: tuple[int, ...]) -> Session:
        if self._memory is None:
            raise RuntimeError(f"the {self.name} engine is closed")
        if self._session is None or self._session.shape[1:] != shape[1:]:
            self._let_go()  # its memory is needed for the next one
            self._session = self._proven(shape, self._memory)
        return self._session

    def _let_go(self) -> None:
        if self._session is not None:
            self._session.keep_kernels()  # of batch sizes that only studies had
        self._session = None

    def _proven(self, shape: tuple[int, ...], memory: DeviceMemory) -> Session:
        """A session that gave the reference's outputs here; an engine of the cache that did not is built anew once."""
        entry, content = self._backend.found(self._plan, shape, memory.gpu)
        if entry and content:
            try:
                return self._checked(entry, content, shape, memory)
            except (EngineDisagrees, EngineUnavailable) as exc:
                if not self._plan.may_build:
                    raise self._not_ready(f"in the cache must be built anew: {exc}", shape) from exc
                # a new one takes its place, or says why it cannot
        if not self._plan.may_build:
            raise self._not_ready("in the cache is damaged" if entry else "is not in the cache", shape)
        entry = self._backend.build(self._plan, shape, gpu=memory.gpu)
        return self._checked(entry, entry.path.read_bytes(), shape, memory)

    def _not_ready(self, why: str, shape: tuple[int, ...]) -> EngineNotReady:
        what = f"the engine of {self._plan.name} for {'x'.join(map(str, shape[1:]))}"
        return EngineNotReady(f"{what} {why}", network=self._plan.name, shape=shape)

    def _checked(self, entry: Entry, content: bytes, shape: tuple[int, ...], memory: DeviceMemory) -> Session:
        library = self._backend.library.load()
        session = Session(library, content, shape=(1, *shape[1:]), memory=memory, folder=entry.folder)
        problem = entry.record.graph.fingerprint.problem(session.run(noise(session.shape)).numpy())
        if problem:
            raise EngineDisagrees(f"the {self.name} engine of {self._plan.name} is wrong on {self.device}: {problem}")
        session.keep_kernels()
        entry.note_on_device(self.device, self.library_version)
        self._answered[entry.folder.name] = entry.record.engine_sha256
        return session


@dataclass(frozen=True, slots=True)
class TensorRtBackend:
    """One of the two libraries as an engine's module."""

    library: Library

    def library_version(self) -> str:
        """Version of the library. Raises: ``EngineUnavailable``."""
        return self.library.version()

    def device(self) -> str:
        """The GPU. Raises: ``EngineUnavailable`` when there is none, or one the library does not know."""
        gpu = tensorrt_memory.this_gpu()
        if self.library.ahead_of_time:
            capability(self.library.load(), gpu.sm)
        return str(gpu)

    def open_engine(self, plan: NetworkPlan) -> TensorRtEngine:
        """Prepare an engine; nothing is loaded or built before the first call.

        Raises: ``EngineUnavailable``; without a GPU it says what has been compiled ahead of time.
        """
        self.library.load()
        if plan.precision == "bf16":
            raise EngineUnavailable(f"{self.library.engine} is offered in f32 and f16, not in bf16")
        try:
            memory = tensorrt_memory.open_memory()
        except EngineUnavailable as exc:
            raise EngineUnavailable(f"{self.library.engine}: {exc}; {self._compiled(plan)}") from exc
        return TensorRtEngine(plan, self, memory)

    def build(self, plan: NetworkPlan, shape: tuple[int, ...], *, gpu: Gpu) -> Entry:
        """Build the engine and keep it; a GPU without a name is one that is not in this machine.

        Raises: ``EngineUnavailable``, ``EngineDisagrees`` when the graph does not give the network's answer.
        """
        trt = self.library.load()
        if not gpu.name:
            self.library.check_target(gpu.sm)
        graph = exported(plan, shape, plan.precision)
        started = time.perf_counter()
        sm = gpu.sm if self.library.ahead_of_time else None
        content = build_engine(trt, graph.path, shape=shape, sm=sm)
        what = self.what(plan, shape, gpu)
        seconds = time.perf_counter() - started
        with translated(plan.cache_folder, "the engine cache"):
            entry = store_entry(plan.cache_folder, what, content, graph=graph.check, seconds=seconds)
        hold(entry.folder / MARK, bundle=plan.bundle)
        return entry

    def found(self, plan: NetworkPlan, shape: tuple[int, ...], gpu: Gpu) -> tuple[Entry | None, bytes | None]:
        """The engine in the cache and its bytes, where they are what was built."""
        entry = find_entry(plan.cache_folder, self.what(plan, shape, gpu))
        if entry:
            hold(entry.folder / MARK, bundle=plan.bundle)
        return entry, entry.engine_bytes() if entry else None

    def what(self, plan: NetworkPlan, shape: tuple[int, ...], gpu: Gpu) -> Mapping[str, str]:
        """Everything that decides an engine. One of TensorRT belongs to a GPU model, one of RTX to a capability."""
        return {
            "network": plan.key,
            "graph": graph_recipe(plan.precision),
            "precision": plan.precision,
            "shape": "x".join(map(str, shape[1:])),
            "batches": "-".join(map(str, batches(shape))),
            "backend": f"{self.library.engine} {self.library_version()}",
            "gpu": gpu.sm if self.library.ahead_of_time else str(gpu),
            "platform": f"{platform.system()} {platform.machine()}",
            **OPTIONS,
        }

    def _compiled(self, plan: NetworkPlan) -> str:
        ready = [
            f"{e.record.what['gpu']} {e.record.what['precision']} ({e.record.size_bytes / 1e6:.1f} MB)"
            for e in entries(plan.cache_folder, network=plan.key)
            if e.record.what["backend"].startswith(f"{self.library.engine} ")
        ]
        return f"compiled ahead of time for {', '.join(ready)}" if ready else "nothing is compiled ahead of time"


TENSORRT = TensorRtBackend(_TENSORRT)
TENSORRT_RTX = TensorRtBackend(_TENSORRT_RTX)
