"""A TensorRT engine in memory: context, static buffers and CUDA graph for one spatial shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wetread.errors import EngineUnavailable
from wetread.infer.engines.engine import FloatArray
from wetread.infer.engines.runtime_cache import RUNTIME_CACHE, RuntimeCache
from wetread.infer.engines.tensorrt_build import batches
from wetread.infer.engines.tensorrt_library import logger, said
from wetread.infer.engines.tensorrt_memory import DeviceMemory


class Session:
    """Runs batches of up to ``most`` images of ``shape``. Not for several threads.

    Input and output buffers hold the largest batch and never move, so their addresses are told once; a smaller batch is
    their beginning. Answers are copies: the next run cannot overwrite an earlier one.
    """

    def __init__(self, trt: Any, content: bytes, *, shape: tuple[int, ...], memory: DeviceMemory, folder: Path) -> None:
        """``folder``: of the engine, where kernels that the library compiles at run time are kept."""
        self.shape = shape
        self.most = batches(shape)[2]
        self._trt = trt
        self._memory = memory
        # All three stay referenced: a context must not outlive its engine, nor an engine its runtime.
        self._runtime = trt.Runtime(logger(trt))
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise EngineUnavailable(f"{trt.__name__} {trt.__version__} does not take the engine: {said(trt)}")
        self._names = self._io_names()
        self._kernels: RuntimeCache | None = None
        self._context = self._new_context(folder)
        self._batch, self._ran = 0, False
        self._replay: tuple[int, Callable[[], None]] | None = None
        self._may_capture = not hasattr(trt, "CudaGraphStrategy")
        self._set_batch(self.most)
        out = tuple(self._context.get_tensor_shape(self._names[1]))
        # Made inside a program's inference mode they could not be filled outside of it.
        with torch.inference_mode(False):
            self._buffers = (memory.allocate((self.most, *shape[1:])), memory.allocate(out))
        for name, buffer in zip(self._names, self._buffers, strict=True):
            self._must(self._context.set_tensor_address(name, buffer.data_ptr()), f"set the address of {name}")

    def run(self, images: FloatArray | Tensor, *, to_host: bool = True) -> Tensor:
        """The answer to at most ``most`` images, a new tensor in host memory or on the device."""
        count = len(images)
        self._memory.upload(images, self._buffers[0][:count])
        if self._replay and self._replay[0] == count:
            self._replay[1]()
        else:
            self._enqueue_or_capture(count)
        return self._memory.download(self._buffers[1][:count], to_host=to_host)

    def _enqueue_or_capture(self, count: int) -> None:
        """The second run in a row with one batch size becomes a CUDA graph; the first lets the library allocate."""
        again = self._batch == count and self._ran
        if not again:
            self._replay = None  # recorded for another shape of the context
            self._set_batch(count)
        if again and self._may_capture:
            try:
                self._replay = (count, self._memory.captured(self._enqueue))
                self._replay[1]()
                return
            except RuntimeError:
                self._may_capture = False  # this network cannot be captured: it is enqueued every time
        self._enqueue()
        self._ran = True

    def _enqueue(self) -> None:
        self._must(self._context.execute_async_v3(self._memory.stream), "run the engine")

    def _set_batch(self, count: int) -> None:
        self._ran = False
        self._batch = count
        self._must(self._context.set_input_shape(self._names[0], (count, *self.shape[1:])), f"take a batch of {count}")

    def keep_kernels(self) -> None:
        """Keep what the library compiled while it ran, for the next start (TensorRT-RTX)."""
        if self._kernels is not None:
            self._kernels.keep()

    def _new_context(self, folder: Path) -> Any:
        if not hasattr(self._trt, "CudaGraphStrategy"):
            return self._engine.create_execution_context()
        # TensorRT-RTX compiles kernels while it runs and so must capture by itself.
        config = self._engine.create_runtime_config()
        config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._kernels = RuntimeCache(config, folder / RUNTIME_CACHE)
        return self._engine.create_execution_context(config)

    def _io_names(self) -> tuple[str, str]:
        names = [self._engine.get_tensor_name(k) for k in range(self._engine.num_io_tensors)]
        modes = {self._engine.get_tensor_mode(name): name for name in names}
        kinds = {str(self._engine.get_tensor_dtype(name)) for name in names}
        if len(names) != 2 or kinds != {str(self._trt.float32)}:
            raise EngineUnavailable(f"an engine with one float32 input and output is expected, got {names}, {kinds}")
        return modes[self._trt.TensorIOMode.INPUT], modes[self._trt.TensorIOMode.OUTPUT]

    def _must(self, done: bool, what: str) -> None:
        if not done:
            raise EngineUnavailable(f"{self._trt.__name__} {self._trt.__version__} did not {what}: {said(self._trt)}")
