"""Engines before they are needed: on this machine, or ahead of time for a GPU that is somewhere else."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

from wetread.bundles import Bundle
from wetread.bundles.trust import TrustPolicy, admit
from wetread.errors import EngineDisagrees, EngineUnavailable
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.engines import tensorrt_memory
from wetread.infer.engines.engine import backend, choose_engine
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.tensorrt_engine import TensorRtBackend
from wetread.infer.engines.tensorrt_memory import Gpu
from wetread.infer.engines.wish import GPU_ENGINES, Precision, check_wish
from wetread.infer.files import translated
from wetread.infer.gate.certificate import Certificate
from wetread.infer.gate.synthetic import network_input_shape
from wetread.infer.graph.export import exported
from wetread.infer.graph.graph_check import GraphCheck
from wetread.infer.graph.onnx_check import noise
from wetread.infer.model import open_model
from wetread.infer.plans import network_plans
from wetread.infer.shapes import asked_shape
from wetread.progress import Progress, unheard

Shape = tuple[int, ...]


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
    measured_on: Literal["golden", "synthetic", "graph"] = "graph"
    """What was asked: the golden case, or noise; ``graph``: noise, of an engine for a GPU that is not here, whose graph
    answered on the CPU (its golden case too)."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """The worst that was found, by name, e.g. ``min_dice``."""
    note: str = ""
    """Why the precision is not the one that was asked for."""


def compile_bundle(
    bundle: Bundle,
    *,
    engine: str = "auto",
    precision: Precision | None = None,
    gpus: Sequence[str] = (),
    cache_folder: Path,
    trust: TrustPolicy | None = None,
    progress: Progress = unheard,
) -> list[CompiledEngine]:
    """Compile every network of a bundle, for each of ``gpus`` (``sm89``, …; none: this machine's device).

    ``auto`` is the engine that would serve here; with ``gpus`` it is ``tensorrt-rtx``, the only one for that. A
    precision that does not give the bundle's answer falls back one step, and the note says so.
    Raises: ``BundleNotTrusted``, ``WeightsMissing``, ``BundleInvalid``, ``EngineUnavailable``, ``EngineDisagrees``.
    """
    admit(bundle, trust)
    bundle.check_weights()
    wanted: Precision = precision or bundle.manifest.runtime.precision
    name = _engine_name(engine, wanted, gpus)
    done: list[CompiledEngine] = []
    with translated(cache_folder, "the engine cache"):
        compiling = _Compiling(bundle, name, cache_folder, trust)
        for number, gpu in enumerate(gpus or ("",)):
            progress(f"compiling for {gpu or 'this machine'} in {wanted}", number / max(1, len(gpus)))
            done += compiling.or_one_step_back(wanted, gpu)
    progress("compiled", 1.0)
    return done


def _engine_name(engine: str, precision: Precision, gpus: Sequence[str]) -> str:
    """The engine that is compiled. Raises: ``EngineUnavailable``."""
    check_wish(engine, [precision], gpus)
    if gpus:
        return "tensorrt-rtx" if engine == "auto" else engine
    name = choose_engine(engine, precision=precision).name
    check_wish(name, [precision], gpus)
    return name


@dataclass(frozen=True, slots=True)
class _Compiling:
    bundle: Bundle
    engine: str
    cache_folder: Path
    trust: TrustPolicy | None

    def or_one_step_back(self, precision: Precision, gpu: str) -> list[CompiledEngine]:
        """Every network in ``precision``, or all of them in float32: one answer comes from one arithmetic."""
        try:
            return self._networks(precision, gpu)
        except EngineDisagrees as exc:
            if precision == "f32":
                raise
            note = f"{precision} was refused: {exc}"
            return [replace(made, note=note) for made in self._networks("f32", gpu)]

    def _networks(self, precision: Precision, gpu: str) -> list[CompiledEngine]:
        config = InferenceConfig(self.bundle)
        image = network_input_shape(self.bundle)
        threads, digest = os.cpu_count() or 1, self.bundle.digest()
        plans = network_plans(
            self.bundle, config, self.cache_folder, precision=precision, threads=threads, digest=digest
        )
        compiled = self._for_gpu if self.engine in GPU_ENGINES else self._for_cpu
        return [compiled(plan, asked_shape(config, image, plan.name)[0], gpu) for plan in plans]

    def _for_gpu(self, plan: NetworkPlan, shape: Shape, sm: str) -> CompiledEngine:
        library = cast(TensorRtBackend, backend(self.engine))
        here = _gpu_here(needed=not sm)
        gpu = here if here and sm in ("", here.sm) else Gpu("", sm)
        entry, content = library.found(plan, shape, gpu)
        if entry is None or content is None:
            entry = library.build(plan, shape, gpu=gpu)
        proven: Certificate | None = None
        if gpu is here:
            opened = library.open_engine(plan)
            opened(noise(shape))
            opened.close()
            proven = self._prove(plan)
            entry = library.found(plan, shape, gpu)[0] or entry
        record = entry.record
        measured_on, measured = _figures(record.graph) if proven is None else (proven.kind, proven.measured.figures())
        return CompiledEngine(
            bundle=self.bundle.name,
            network=plan.name,
            engine=self.engine,
            precision=plan.precision,
            gpu=record.what["gpu"],
            size_bytes=record.size_bytes,
            seconds=record.seconds,
            path=entry.path,
            sha256=record.engine_sha256,
            build_part="passed",
            on_device_part="passed" if entry.on_device() else "not run",
            measured_on=measured_on,
            measured=measured,
        )

    def _for_cpu(self, plan: NetworkPlan, shape: Shape, _sm: str) -> CompiledEngine:
        """What is kept is the checked graph and the certificate; OpenVINO compiles it at each start."""
        started = time.perf_counter()
        proven = self._prove(plan)
        graph = exported(plan, shape)
        return CompiledEngine(
            bundle=self.bundle.name,
            network=plan.name,
            engine=self.engine,
            precision=plan.precision,
            gpu="CPU",
            size_bytes=graph.path.stat().st_size,
            seconds=round(time.perf_counter() - started, 3),
            path=graph.path,
            sha256=graph.sha256,
            build_part="passed",
            on_device_part="passed",
            measured_on=proven.kind,
            measured=proven.measured.figures(),
        )

    def _prove(self, plan: NetworkPlan) -> Certificate:
        """Let the engine through the gate as when it serves, so that the certificate is there.

        Raises: ``EngineDisagrees`` when the gate lets it through in another precision only.
        """
        runtime = self.bundle.manifest.runtime.model_copy(update={"precision": plan.precision})
        asked = replace(self.bundle, manifest=self.bundle.manifest.model_copy(update={"runtime": runtime}))
        model = open_model(
            asked, engine=self.engine, cache_folder=plan.cache_folder, trust=self.trust, threads=plan.threads
        )
        model.close()
        if model.certificate is None or model.identity.precision != plan.precision:
            raise EngineDisagrees(f"bundle {self.bundle.name}: {model.choice_reason}")
        return model.certificate


def _figures(check: GraphCheck) -> tuple[Literal["golden", "graph"], dict[str, float]]:
    """Of a graph on the CPU: what was measured, and the figures."""
    if check.task:
        return "golden", dict(check.task)
    return "graph", {name: getattr(check, name) for name in ("share_within", "same_label", "max_difference")}


def _gpu_here(*, needed: bool) -> Gpu | None:
    try:
        return tensorrt_memory.this_gpu()
    except EngineUnavailable as exc:
        if needed:
            raise EngineUnavailable(f"{exc}; to compile for another machine's GPU name it: --gpu sm89") from exc
        return None
