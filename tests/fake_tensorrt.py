"""TensorRT's Python API without a GPU: an engine is the ONNX graph in an envelope, and ONNX Runtime runs it.

As strict as the library where our code could go wrong: TensorRT 11 and RTX know no precision flags, engines belong to
one version and GPU, shapes outside the profile are refused, memory is reached by address, a captured stream runs
nothing.
"""

from __future__ import annotations

import ctypes
import enum
import json
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from wetread.infer.engines import tensorrt_memory
from wetread.infer.engines.engine import FloatArray
from wetread.infer.engines.tensorrt_memory import Gpu

VARIANTS = {
    "tensorrt-10": ("tensorrt", "10.13.3.9"),
    "tensorrt-11": ("tensorrt", "11.4.0.106"),
    "tensorrt-rtx": ("tensorrt_rtx", "1.7.1.116"),
}
_MAGIC = b"fake engine "


def install(monkeypatch: pytest.MonkeyPatch, variant: str, *, sm: str = "sm89") -> types.ModuleType:
    """Put the fake library of a variant, and a GPU of host memory, in the place of the real ones."""
    name, version = VARIANTS[variant]
    module = make_module(name, version)
    module.sm = sm
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(tensorrt_memory, "open_memory", lambda: HostMemory(sm))
    monkeypatch.setattr(tensorrt_memory, "this_gpu", lambda: Gpu("Fake GPU", sm))
    return module


class _Stream:
    known: dict[int, _Stream] = {}  # noqa: RUF012 (handles are global, as CUDA's are)

    def __init__(self) -> None:
        self.handle = len(self.known) + 1
        self.recording: list[Callable[[], None]] | None = None
        self.known[self.handle] = self


class HostMemory:
    """Buffers in host memory; work is done when it is enqueued, or recorded while the stream is captured."""

    def __init__(self, sm: str = "sm89") -> None:
        self.gpu = Gpu("Fake GPU", sm)
        self.where = torch.device("cpu")
        self._stream = _Stream()
        self.stream = self._stream.handle
        self.graphs = 0
        self.through_host = 0
        """Answers that left the device."""

    def allocate(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Filled with what cannot be mistaken for an answer."""
        return torch.full(shape, torch.nan)

    def upload(self, source: FloatArray | torch.Tensor, buffer: torch.Tensor) -> None:
        """Copy."""
        buffer.copy_(torch.tensor(source) if isinstance(source, np.ndarray) else source)

    def download(self, buffer: torch.Tensor, *, to_host: bool) -> torch.Tensor:
        """Copy."""
        self.through_host += to_host
        return buffer.clone()

    def captured(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Record without running."""
        self._stream.recording = recording = []
        enqueue()
        self._stream.recording = None
        self.graphs += 1
        return lambda: [work() for work in recording] and None


def make_module(name: str, version: str) -> types.ModuleType:
    """A module like ``tensorrt`` 10 or 11 or ``tensorrt_rtx``."""
    module = types.ModuleType(name)
    rtx, major = name == "tensorrt_rtx", int(version.split(".", maxsplit=1)[0])
    old = not rtx and major == 10
    flags = ["TF32", "VERSION_COMPATIBLE", *(["FP16", "BF16", "INT8", "OBEY_PRECISION_CONSTRAINTS"] if old else [])]
    creation = ["EXPLICIT_BATCH", "STRONGLY_TYPED"] if old else ["STRONGLY_TYPED"]
    module.__dict__.update(
        __version__=version,
        sm="sm89",
        float32="DataType.FLOAT",
        ILogger=_Logger,
        BuilderFlag=enum.IntEnum("BuilderFlag", flags, start=0),
        NetworkDefinitionCreationFlag=enum.IntEnum("NetworkDefinitionCreationFlag", creation, start=0),
        OnnxParserFlag=enum.IntEnum("OnnxParserFlag", ["NATIVE_INSTANCENORM"], start=0),
        TensorIOMode=enum.Enum("TensorIOMode", ["INPUT", "OUTPUT"]),
        Builder=lambda logger: _Builder(module, logger, rtx=rtx),
        OnnxParser=_Parser,
        Runtime=lambda logger: _Runtime(module, logger),
    )
    if rtx:
        module.ComputeCapability = enum.IntEnum("ComputeCapability", ["SM75", "SM86", "SM89", "SM120"])
        module.CudaGraphStrategy = enum.Enum("CudaGraphStrategy", ["DISABLED", "WHOLE_GRAPH_CAPTURE"])
    return module


class _Logger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def __init__(self) -> None: ...

    def error(self, message: str) -> None:
        self.log(self.Severity.ERROR, message)  # type: ignore[attr-defined]


class _Config:
    def __init__(self, module: Any, *, rtx: bool) -> None:
        self._module = module
        self._flags = {module.BuilderFlag.TF32}
        self.profiles: list[_Profile] = []
        self.sm = ""
        if rtx:
            self.num_compute_capabilities = 0
            self.set_compute_capability = self._set_compute_capability

    def _set_compute_capability(self, capability: Any, index: int) -> bool:
        self.sm = capability.name.lower()
        return index < self.num_compute_capabilities

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(self._module.BuilderFlag(flag))

    def set_flag(self, flag: Any) -> None:
        self._flags.add(self._module.BuilderFlag(flag))

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def flags(self) -> list[str]:
        return sorted(flag.name for flag in self._flags)


class _Profile:
    shapes: tuple[tuple[int, ...], ...] = ()
    input = ""

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.input, self.shapes = name, shapes


class _Network:
    def __init__(self, flags: int, module: Any) -> None:
        self.typed = module.__name__ == "tensorrt_rtx" or module.__version__ >= "11" or bool(flags & 2)
        self.model = b""

    def get_input(self, index: int) -> Any:
        return onnx.load_from_string(self.model).graph.input[index]


class _Builder:
    def __init__(self, module: Any, logger: Any, *, rtx: bool) -> None:
        if not rtx and not module.sm:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._module, self._logger, self._rtx = module, logger, rtx

    def create_network(self, flags: int = 0) -> _Network:
        return _Network(flags, self._module)

    def create_builder_config(self) -> _Config:
        return _Config(self._module, rtx=self._rtx)

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        if not config.profiles or len(config.profiles[0].shapes) != 3:
            self._logger.error("Network has dynamic or shape inputs, but no optimization profile has been defined.")
            return None
        header = {
            "library": f"{self._module.__name__} {self._module.__version__}",
            "sm": config.sm or self._module.sm,
            "typed": network.typed,
            "flags": config.flags(),
            "profile": config.profiles[0].shapes,
        }
        return _MAGIC + json.dumps(header).encode() + b"\n" + network.model


class _Parser:
    def __init__(self, network: _Network, logger: Any) -> None:
        self._network = network
        self._errors: list[str] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> str:
        return self._errors[index]

    def set_flag(self, flag: Any) -> None:
        assert flag.name == "NATIVE_INSTANCENORM"

    def parse(self, content: bytes) -> bool:
        model = onnx.load_from_string(content)
        unknown = [n.op_type for n in model.graph.node if n.op_type in ("CumSum", "Unique")]
        self._errors = [f"In node 0 (parseNode): UNSUPPORTED_NODE: no importer for {name}" for name in unknown]
        self._network.model = content
        return not unknown


class _Runtime:
    def __init__(self, module: Any, logger: Any) -> None:
        self._module, self._logger = module, logger

    def deserialize_cuda_engine(self, content: bytes) -> _Engine | None:
        if not content.startswith(_MAGIC):
            self._logger.error("The engine plan file is not a valid one (magicTag)")
            return None
        header = header_of(content)
        mine = (f"{self._module.__name__} {self._module.__version__}", self._module.sm)
        if (header["library"], header["sm"]) != mine:
            self._logger.error(f"The engine plan file is for {header['library']}, {header['sm']}; this is {mine}")
            return None
        return _Engine(self._module, header, content.partition(b"\n")[2])


def header_of(engine: bytes) -> dict[str, Any]:
    """How an engine was built."""
    return dict(json.loads(engine.removeprefix(_MAGIC).partition(b"\n")[0]))


class _Engine:
    num_io_tensors = 2

    def __init__(self, module: Any, header: dict[str, Any], model: bytes) -> None:
        self.module, self.header = module, header
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.names = (self.session.get_inputs()[0].name, self.session.get_outputs()[0].name)
        if module.__name__ == "tensorrt_rtx":
            self.create_runtime_config = lambda: _RuntimeConfig(module)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self.module.TensorIOMode.INPUT if name == self.names[0] else self.module.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        (value,) = (v for v in (*self.session.get_inputs(), *self.session.get_outputs()) if v.name == name)
        return self.module.float32 if value.type == "tensor(float)" else value.type

    def create_execution_context(self, config: Any = None) -> _Context:
        return _Context(self, config.cache if config else None)


class _RuntimeConfig:
    """Of TensorRT-RTX; a context takes the cache that was set when it is made."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.cuda_graph_strategy = module.CudaGraphStrategy.DISABLED
        self.cache: _RuntimeCache | None = None

    def create_runtime_cache(self) -> _RuntimeCache:
        return _RuntimeCache(self._module)

    def set_runtime_cache(self, cache: _RuntimeCache) -> bool:
        self.cache = cache
        return True


class _RuntimeCache:
    """Kernels by the shape they were compiled for; valid for one GPU and version of the library."""

    compiled: list[str] = []  # noqa: RUF012 (what this process had to compile, for tests to look at)

    def __init__(self, module: Any) -> None:
        self._machine = f"{module.__name__} {module.__version__} {module.sm}"
        self.kernels: set[str] = set()

    def deserialize(self, blob: bytes) -> bool:
        content = json.loads(blob) if blob.startswith(b"{") else {}
        if content.get("machine") != self._machine:
            return False
        self.kernels = set(content["kernels"])
        return True

    def serialize(self) -> bytes:
        return json.dumps({"machine": self._machine, "kernels": sorted(self.kernels)}).encode()

    def need(self, kernel: str) -> None:
        if kernel not in self.kernels:
            self.compiled.append(kernel)
            self.kernels.add(kernel)


class _Context:
    def __init__(self, engine: _Engine, cache: _RuntimeCache | None) -> None:
        self._engine = engine
        self._cache = cache
        self._shape: tuple[int, ...] = ()
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self._engine.header["profile"]
        inside = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        self._shape = shape if inside else ()
        return inside

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._answer(np.zeros(self._shape, np.float32)).shape)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in self._engine.names

    def execute_async_v3(self, stream_handle: int) -> bool:
        stream, shape = _Stream.known[stream_handle], self._shape
        if stream.recording is not None:
            stream.recording.append(lambda: self._run_again(shape))
        else:
            self._run(shape)
        return bool(shape)

    def _run_again(self, shape: tuple[int, ...]) -> None:
        assert self._shape == shape, "a CUDA graph is valid only as long as the context keeps the shape it was made in"
        self._run(shape)

    def _run(self, shape: tuple[int, ...]) -> None:
        if self._cache is not None:
            self._cache.need(str(shape))
        source, target = (self._addresses[name] for name in self._engine.names)
        answer = np.ascontiguousarray(self._answer(_at(source, shape)))
        _at(target, answer.shape)[...] = answer

    def _answer(self, image: FloatArray) -> FloatArray:
        return np.asarray(self._engine.session.run(None, {self._engine.names[0]: image})[0])


def _at(address: int, shape: tuple[int, ...]) -> FloatArray:
    size = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * size).from_address(address)).reshape(shape)
