"""One engine of one bundle, from the choice to the certificate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wetread.bundles import Bundle
from wetread.bundles.manifest import Manifest
from wetread.errors import BundleInvalid, EngineDisagrees, EngineNotReady, EngineUnavailable
from wetread.infer.adapters import answer
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.engines.engine import OPENVINO, REFERENCE, Choice, Engine, Resting, backend
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.files import translated
from wetread.infer.forecast import Forecast, SourceGrid
from wetread.infer.gate.certificate import Certificate
from wetread.infer.gate.gate import certify, subject
from wetread.infer.gate.refusal import forget_refusal, note_refusal, noted_refusal
from wetread.infer.gate.synthetic import certify_without_golden, network_input_shape
from wetread.infer.graph.export import exported, hold_exported
from wetread.infer.graph.onnx_check import noise
from wetread.infer.keys import key_of
from wetread.infer.plans import network_plans
from wetread.infer.program import Runnable
from wetread.infer.shapes import Shape, asked_shape
from wetread.infer.tiers import Tier, choose_tier, open_program
from wetread.memory import restart_peak
from wetread.progress import Progress
from wetread.records.model_input import ModelInput
from wetread.records.output import ModelOutput
from wetread.records.reading import EngineIdentity

REFERENCE_SERVES = "reference"
"""Stands where the digest of a certificate would: nothing is there to measure the reference by."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A program with engines that went through the gate."""

    program: Runnable
    engines: Mapping[str, Engine]
    """By the id of the network."""
    tier: Tier
    identity: EngineIdentity
    certificate: Certificate | None
    """Under which it serves; none for the reference of a bundle without a golden case."""
    forecast: Forecast
    """What a read will take."""
    windows: Mapping[str, Shape]
    """In which shape each network is always asked, where that is known."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Opens a bundle that was admitted, with one engine or another."""

    bundle: Bundle
    cache_folder: Path
    threads: int
    build: bool
    """Build and prove what the cache lacks; without it such an engine is ``EngineNotReady``."""
    tell: Progress

    def opened(self, choice: Choice) -> Opened:
        """Raises: ``EngineUnavailable``, ``EngineDisagrees``, ``EngineNotReady``, ``BundleInvalid``.

        Why an engine may not serve is noted in the cache, so that it is not built again for a while.
        """
        what = subject(
            self.bundle,
            engine=choice.name,
            precision=choice.precision,
            library_version=backend(choice.name).library_version(),
            device=_device(choice.name),
        )
        if not self.build and choice.name != REFERENCE:
            refusal = noted_refusal(self.cache_folder, what)
            if refusal:
                raise refusal.error()
        try:
            with translated(self.cache_folder, "the engine cache"):
                opened = self._opened(choice, what)
        except EngineNotReady:
            raise
        except (EngineDisagrees, EngineUnavailable) as exc:
            if what["device"]:
                with suppress(OSError):  # a note that cannot be kept only costs another try
                    note_refusal(self.cache_folder, what, exc)
            raise
        if self.build:
            forget_refusal(self.cache_folder, what)
        return opened

    def _opened(self, choice: Choice, what: Mapping[str, str]) -> Opened:
        config = InferenceConfig(self.bundle)
        plans = network_plans(
            self.bundle,
            config,
            self.cache_folder,
            precision=choice.precision,
            threads=self.threads,
            may_build=self.build,
            digest=what["bundle"],
        )
        engines: dict[str, Engine] = {}
        try:
            self.tell(f"opening engine {choice.name}", 0.2)
            for plan in plans:
                engines[plan.name] = backend(choice.name).open_engine(plan)
            program = open_program(config, engines)
            windows = self._windows(config, engines) if choice.name != REFERENCE else {}
            if self.build and choice.name == OPENVINO:
                self._export(plans, windows)
            self.tell("comparing with the stored answer", 0.4)
            forecast = Forecast(program, self.cache_folder / key_of(what), channels=_channels(self.bundle))
            certificate = self._certificate(forecast, plans, engines, what)
            if choice.name != REFERENCE:
                for plan in plans:
                    hold_exported(plan)
            if not self.build:
                load(engines, windows)
        except BaseException:
            for engine in engines.values():
                engine.close()
            raise
        self.tell("ready", 1.0)
        identity = self._identity(config, what, certificate)
        return Opened(program, engines, choose_tier(config), identity, certificate, forecast, windows)

    def _certificate(
        self, forecast: Forecast, plans: list[NetworkPlan], engines: Mapping[str, Engine], what: Mapping[str, str]
    ) -> Certificate | None:
        """The reference is measured whoever waits: nothing else could serve before it. None: it has no golden case."""
        golden, make = self.bundle.manifest.golden, self.build or what["engine"] == REFERENCE
        if golden is None:
            return certify_without_golden(self.bundle, what, plans, engines, cache_folder=self.cache_folder, make=make)
        run = partial(_watched_answer, forecast, self.bundle.manifest)
        return certify(self.bundle, golden, what, run=run, engines=engines, cache_folder=self.cache_folder, make=make)

    def _export(self, plans: list[NetworkPlan], windows: Mapping[str, Shape]) -> None:
        """Before the golden case is read: what that takes is what a read takes, and no read exports a network."""
        for plan in plans:
            if plan.name in windows:
                self.tell(f"exporting {plan.name}", 0.3)
                exported(plan, windows[plan.name])

    def _windows(self, config: InferenceConfig, engines: Mapping[str, Engine]) -> dict[str, Shape]:
        with suppress(BundleInvalid):  # the metadata do not say what the network takes: the first study will
            image = network_input_shape(self.bundle)
            asked = {name: asked_shape(config, image, name) for name in engines}
            return {name: shape for name, (shape, always) in asked.items() if always}
        return {}

    def _identity(
        self, config: InferenceConfig, what: Mapping[str, str], certificate: Certificate | None
    ) -> EngineIdentity:
        return EngineIdentity(
            name=what["engine"],
            precision=what["precision"],
            library_version=what["library"],
            device=what["device"],
            certificate=certificate.digest() if certificate else REFERENCE_SERVES,
            tier=choose_tier(config).name,
            shims=(*(f"{shim.name}: {shim.what}" for shim in config.shims), *_programs(self.bundle)),
        )


def _programs(bundle: Bundle) -> tuple[str, ...]:
    return tuple(f"torchscript: {w.path} is run as the program it is" for w in bundle.manifest.weights if w.program)


def _channels(bundle: Bundle) -> int:
    try:
        return network_input_shape(bundle)[1]
    except BundleInvalid:  # the metadata does not say it
        return len(bundle.manifest.inputs)


def _watched_answer(forecast: Forecast, manifest: Manifest, volumes: Mapping[str, ModelInput]) -> ModelOutput:
    """The golden case is the first thing known about reads on this machine."""
    before_mb, started = restart_peak(), time.perf_counter()
    output = answer(forecast.program, manifest, volumes)
    took_s = time.perf_counter() - started
    grids = [SourceGrid.of(image) for image in volumes.values()]
    forecast.note(grids, before_mb=before_mb, seconds=took_s, golden=True)
    return output


def load(engines: Mapping[str, Engine], windows: Mapping[str, Shape]) -> None:
    """Load what the cache holds and try it: a study is no moment to find it broken."""
    for name, shape in windows.items():
        engine = engines[name]
        engine(noise((1, *shape[1:])))
        if isinstance(engine, Resting):
            engine.rest()  # the program may ask for masks, which need memory of their own


def _device(engine: str) -> str:
    """Empty when there is none: opening the engine then says more, such as what was compiled ahead of time."""
    try:
        return backend(engine).device()
    except EngineUnavailable:
        return ""
