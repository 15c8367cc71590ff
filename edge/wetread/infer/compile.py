"""Engines before they are needed: on this machine, or ahead of time for a GPU that is somewhere else."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, cast

from wetread.bundles import Bundle
from wetread.errors import EngineDisagrees, EngineUnavailable
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.engines import tensorrt_memory
from wetread.infer.engines.engine import PRECISIONS, REFERENCE, backend, choose_engine
from wetread.infer.engines.plan import NetworkPlan, Precision
from wetread.infer.engines.tensorrt_engine import TensorRtBackend
from wetread.infer.engines.tensorrt_memory import Gpu
from wetread.infer.gate.synthetic import network_input_shape
from wetread.infer.graph.export import exported
from wetread.infer.graph.onnx_check import noise
from wetread.infer.model import open_model

Progress = Callable[[str, float], None]
Shape = tuple[int, ...]
_GPU_ENGINES = ("tensorrt", "tensorrt-rtx")


@dataclass(frozen=True, slots=True)
class CompiledEngine:
    """One engine of one network, as it lies in the cache."""

    bundle: str
    network: str
    engine: str
    precision: Precision
    gpu: str
    """What it was built for: ``sm89``, a GPU of this machine, or ``CPU``."""
    size_bytes: int
    seconds: float
    """The build took."""
    path: Path
    sha256: str
    build_part: Literal["passed"]
    """The typed graph gave the network's answer on the CPU; one that does not is an error and no engine."""
    on_device_part: Literal["passed", "not run"]
    """The engine gave the network's answer on its device; ``not run``: it must before it serves."""


def compile_bundle(
    bundle: Bundle,
    *,
    engine: str = "auto",
    precision: Precision | None = None,
    gpus: Sequence[str] = (),
    cache_folder: Path,
    progress: Progress | None = None,
) -> list[CompiledEngine]:
    """Compile every network of a bundle, for each of ``gpus`` (``sm89``, …; none: this machine's device).

    ``auto`` is the engine that would serve here; with ``gpus`` it is ``tensorrt-rtx``, the only one for that.
    Raises: ``WeightsMissing``, ``BundleInvalid``, ``EngineUnavailable``, ``EngineDisagrees``.
    """
    bundle.check_weights()
    wanted: Precision = precision or bundle.manifest.runtime.precision
    name = _engine_name(engine, wanted, gpus)
    jobs = [(plan, shape, gpu) for plan, shape in _networks(bundle, wanted, cache_folder) for gpu in gpus or ("",)]
    done = []
    for number, (plan, shape, gpu) in enumerate(jobs):
        if progress:
            progress(f"compiling {plan.name} {wanted} {gpu}".rstrip(), number / len(jobs))
        compiled = _for_gpu if name in _GPU_ENGINES else _for_cpu
        done.append(compiled(bundle, name, plan, shape, gpu))
    if progress:
        progress("compiled", 1.0)
    return done


def _engine_name(engine: str, precision: Precision, gpus: Sequence[str]) -> str:
    name = "tensorrt-rtx" if engine == "auto" and gpus else choose_engine(engine, precision=precision).name
    if name == REFERENCE:
        raise EngineUnavailable("torch is the reference and runs the network as it is; there is nothing to compile")
    if precision not in PRECISIONS[name]:
        raise EngineUnavailable(f"{name} computes in {' or '.join(PRECISIONS[name])}, not in {precision}")
    if gpus and name not in _GPU_ENGINES:
        raise EngineUnavailable(f"{name} runs on the CPU; --gpu is for tensorrt-rtx")
    return name


def _networks(bundle: Bundle, precision: Precision, cache_folder: Path) -> list[tuple[NetworkPlan, Shape]]:
    config = InferenceConfig(bundle)
    image = network_input_shape(bundle)
    return [
        (
            NetworkPlan(
                name=weights.network,
                key=config.network_key(weights),
                make=partial(config.make_network, weights),
                cache_folder=cache_folder,
                precision=precision,
                threads=os.cpu_count() or 1,
            ),
            _asked_for(config, image, main=weights.network == config.runtime.network),
        )
        for weights in bundle.manifest.weights
    ]


def _asked_for(config: InferenceConfig, image: Shape, *, main: bool) -> Shape:
    """The shape in which the inferer asks a network: its window, a cascade's grids, else what the metadata says."""
    inferer = config.config.get("inferer")
    for key in ("roi_size", "fine_shape") if main else ("box_shape",):
        if not isinstance(inferer, dict) or key not in inferer:
            continue
        window = config.resolved(config.parser(), f"inferer::{key}")
        if isinstance(window, Sequence) and len(window) == len(image) - 2:
            # A side that is not positive means the whole image.
            return (*image[:2], *(int(w) if w and w > 0 else i for w, i in zip(window, image[2:], strict=True)))
    return image


def _for_gpu(bundle: Bundle, name: str, plan: NetworkPlan, shape: Shape, sm: str) -> CompiledEngine:
    library = cast(TensorRtBackend, backend(name))
    here = _gpu_here(needed=not sm)
    gpu = here if here and sm in ("", here.sm) else Gpu("", sm)
    entry, content = library.found(plan, shape, gpu)
    if entry is None or content is None:
        entry = library.build(plan, shape, gpu=gpu)
    if gpu is here:
        opened = library.open_engine(plan)
        opened(noise(shape))
        opened.close()
        _prove(bundle, name, plan)
        entry = library.found(plan, shape, gpu)[0] or entry
    record = entry.record
    return CompiledEngine(
        bundle=bundle.name,
        network=plan.name,
        engine=name,
        precision=plan.precision,
        gpu=record.what["gpu"],
        size_bytes=record.size_bytes,
        seconds=record.seconds,
        path=entry.path,
        sha256=record.engine_sha256,
        build_part="passed",
        on_device_part="passed" if entry.on_device() else "not run",
    )


def _for_cpu(bundle: Bundle, name: str, plan: NetworkPlan, shape: Shape, _sm: str) -> CompiledEngine:
    """What is kept is the checked graph and the certificate; OpenVINO compiles it at each start."""
    started = time.perf_counter()
    _prove(bundle, name, plan)
    graph = exported(plan, shape)
    return CompiledEngine(
        bundle=bundle.name,
        network=plan.name,
        engine=name,
        precision=plan.precision,
        gpu="CPU",
        size_bytes=graph.path.stat().st_size,
        seconds=round(time.perf_counter() - started, 3),
        path=graph.path,
        sha256=graph.sha256,
        build_part="passed",
        on_device_part="passed",
    )


def _prove(bundle: Bundle, name: str, plan: NetworkPlan) -> None:
    """Let the engine through the gate as when it serves, so that the certificate is there.

    Raises: ``EngineDisagrees`` when the gate lets it through in another precision only.
    """
    runtime = bundle.manifest.runtime.model_copy(update={"precision": plan.precision})
    asked = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"runtime": runtime}))
    model = open_model(asked, engine=name, cache_folder=plan.cache_folder, threads=plan.threads)
    model.close()
    if model.identity.precision != plan.precision:
        raise EngineDisagrees(f"bundle {bundle.name}: {model.choice_reason}")


def _gpu_here(*, needed: bool) -> Gpu | None:
    try:
        return tensorrt_memory.this_gpu()
    except EngineUnavailable as exc:
        if needed:
            raise EngineUnavailable(f"{exc}; to compile for another machine's GPU name it: --gpu sm89") from exc
        return None
