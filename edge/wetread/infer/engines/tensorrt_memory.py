"""Memory, stream and CUDA graphs of the GPU, through PyTorch: no package more than there is."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wetread.errors import EngineUnavailable
from wetread.infer.engines.engine import FloatArray


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as far as engines depend on it."""

    name: str
    sm: str
    """Compute capability, e.g. ``sm89``."""

    def __str__(self) -> str:
        return f"{self.name} ({self.sm})"


class DeviceMemory(Protocol):
    """Where an engine's buffers live, and the stream its work is put on. One for each engine."""

    gpu: Gpu
    where: torch.device
    stream: int
    """Handle for the library."""

    def allocate(self, shape: tuple[int, ...]) -> Tensor:
        """Uninitialised float32, contiguous, on the device."""
        ...

    def upload(self, source: FloatArray | Tensor, buffer: Tensor) -> None:
        """Fill ``buffer`` on the stream; ``source`` may be changed as soon as this returns."""
        ...

    def download(self, buffer: Tensor, *, to_host: bool) -> Tensor:
        """A copy of ``buffer`` after all work on the stream: in host memory, or on the device."""
        ...

    def captured(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph of the work that ``enqueue`` puts on the stream. Raises: ``RuntimeError`` if it cannot be."""
        ...


class CudaMemory:
    """The current CUDA device, with a stream of its own."""

    def __init__(self) -> None:
        self.gpu = this_gpu()
        self.where = torch.device("cuda")
        self._stream = torch.cuda.Stream()
        self.stream = int(self._stream.cuda_stream)

    def allocate(self, shape: tuple[int, ...]) -> Tensor:
        """Static buffers: their address is given to the library once."""
        try:
            return torch.empty(shape, dtype=torch.float32, device="cuda")
        except torch.cuda.OutOfMemoryError as exc:
            raise EngineUnavailable(f"{self.gpu} has no memory for {shape} float32 values: {exc}") from exc

    def upload(self, source: FloatArray | Tensor, buffer: Tensor) -> None:
        """Host arrays go through pinned memory; of device tensors the work that makes them is waited for."""
        if isinstance(source, Tensor):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                buffer.copy_(source, non_blocking=True)
            # The caller may free it at once; the allocator must know that this stream still reads it.
            source.record_stream(self._stream)
            return
        pinned = torch.empty(buffer.shape, dtype=torch.float32, pin_memory=True)
        pinned.numpy()[...] = source
        with torch.cuda.stream(self._stream):
            buffer.copy_(pinned, non_blocking=True)

    def download(self, buffer: Tensor, *, to_host: bool) -> Tensor:
        """Waits for the stream: afterwards the buffers may be filled again."""
        caller = torch.cuda.current_stream()
        with torch.cuda.stream(self._stream):
            copy = torch.empty(buffer.shape, dtype=torch.float32, pin_memory=True) if to_host else buffer.clone()
            if to_host:
                copy.copy_(buffer, non_blocking=True)
        self._stream.synchronize()
        if to_host:
            return copy.clone()  # out of the pinned memory, of which there is little
        # It was allocated on our stream; the allocator must know that the caller's will use it.
        copy.record_stream(caller)
        return copy

    def captured(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Replays on the same stream."""
        self._stream.synchronize()
        gc.collect()  # a tensor freed during the capture would spoil it
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            enqueue()

        def replay() -> None:
            with torch.cuda.stream(self._stream):
                graph.replay()

        return replay


def this_gpu() -> Gpu:
    """The GPU of this machine. Raises: ``EngineUnavailable`` when PyTorch sees none."""
    if not torch.cuda.is_available():
        why = "this PyTorch is built without CUDA" if torch.version.cuda is None else "PyTorch sees none"
        raise EngineUnavailable(f"an NVIDIA GPU is needed, and {why} (torch {torch.__version__})")
    major, minor = torch.cuda.get_device_capability()
    return Gpu(torch.cuda.get_device_name(), f"sm{major}{minor}")


def open_memory() -> DeviceMemory:
    """Memory of this machine's GPU. Raises: ``EngineUnavailable`` when there is none."""
    return CudaMemory()
