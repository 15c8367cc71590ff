"""ONNX graph → TensorRT engine: strongly typed, so precision is the graph's; no precision flag exists or is set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wetread.errors import EngineUnavailable
from wetread.infer.engines.tensorrt_library import capability, logger, said

OPTIONS = {
    "strongly_typed": "yes",
    "tf32": "off",
    "version_compatible": "no",
    "hardware_compatibility": "none",
    "native_instancenorm": "yes",
    "builder_optimization_level": "default",
}
"""What is decided at build time and could be decided otherwise: part of the engine's key and of its certificate.

TF32 is on by default and would keep ten bits of the mantissa where the certificate says float32.
"""

_BATCH_VALUES = 8 * 96**3
"""Input values in the largest batch: eight windows of 96³."""
_MOST, _USUAL = 8, 4


def batches(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Smallest, usual and largest batch of an engine for images of ``shape`` ``(batch, channel, *spatial)``."""
    values = 1
    for side in shape[1:]:
        values *= side
    largest = max(1, min(_MOST, _BATCH_VALUES // values))
    return 1, min(_USUAL, largest), largest


def build_engine(trt: Any, graph: Path, *, shape: tuple[int, ...], sm: str | None = None) -> bytes:
    """The serialized engine for images of ``shape``, batch 1 to the largest of ``batches(shape)``.

    ``sm``: the compute capability to build for, e.g. ``sm89``, with a library that can; else this machine's GPU.
    Raises: ``EngineUnavailable`` with what the library said.
    """
    logger(trt).lines.clear()
    builder = trt.Builder(logger(trt))
    network = _parsed(trt, builder, graph)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if sm is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability(trt, sm), 0)
    name = network.get_input(0).name
    profile = builder.create_optimization_profile()
    profile.set_shape(name, *((batch, *shape[1:]) for batch in batches(shape)))
    config.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise EngineUnavailable(f"{trt.__name__} {trt.__version__} could not build {graph.name}: {said(trt)}")
    return bytes(built)


def _parsed(trt: Any, builder: Any, graph: Path) -> Any:
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, logger(trt))
    # Without it 3-D instance norms go to a plugin that not every version has.
    parser.set_flag(trt.OnnxParserFlag.NATIVE_INSTANCENORM)
    if not parser.parse(graph.read_bytes()):
        problems = "; ".join(str(parser.get_error(k)) for k in range(parser.num_errors))
        raise EngineUnavailable(f"{trt.__name__} {trt.__version__} cannot read {graph.name}: {problems or said(trt)}")
    return network
