"""A bundle ready to read: its program, its engines, and the certificate under which they serve."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from wetread.bundles import Bundle
from wetread.bundles.check import check_supported
from wetread.bundles.manifest import Manifest
from wetread.errors import EngineDisagrees, EngineUnavailable
from wetread.infer.adapters import answer
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.engines.engine import Choice, Engine, backend, choose_engine, next_choice
from wetread.infer.engines.plan import NetworkPlan, Precision
from wetread.infer.gate.gate import certify, subject
from wetread.infer.gate.synthetic import certify_without_golden
from wetread.infer.program import Runnable
from wetread.infer.tiers import Tier, choose_tier, open_program
from wetread.records.output import ModelOutput
from wetread.records.reading import EngineIdentity
from wetread.records.volume import Volume

Progress = Callable[[str, float], None]
"""Told what is being done and how far opening has come, 0 to 1."""


class Model:
    """Answers for one bundle with one engine. Not for several threads at once."""

    def __init__(
        self,
        program: Runnable,
        engines: tuple[Engine, ...],
        manifest: Manifest,
        *,
        tier: Tier,
        identity: EngineIdentity,
        reason: str,
    ) -> None:
        self.tier = tier
        """How the bundle is driven, and why."""
        self.identity = identity
        self.choice_reason = reason
        """Why this engine, as a sentence for a person."""
        self._program = program
        self._engines = engines
        self._manifest = manifest
        self._closed = False

    def run(self, volumes: Mapping[str, Volume]) -> ModelOutput:
        """What the bundle says about these volumes (by input name), on the grid of the first input.

        Volumes that are stacked lie on one grid (``guard.grid`` sees to it).
        Raises: ``OutputInvalid`` when the answer breaks what the bundle declares (grid, labels, required labels).
        """
        if self._closed:
            raise RuntimeError("the model is closed")
        return answer(self._program, self._manifest, volumes)

    def close(self) -> None:
        """Free the engines; the model cannot be used any more."""
        self._closed = True
        for engine in self._engines:
            engine.close()


def open_model(
    bundle: Bundle,
    *,
    engine: str = "auto",
    cache_folder: Path,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Model:
    """Load a bundle and let an engine through the gate; with ``auto`` the reference serves if the faster may not.

    ``cache_folder`` keeps exported networks and certificates; ``threads`` limits the CPU threads (default: all).
    Raises: ``WeightsMissing``, ``BundleInvalid``, ``EngineUnavailable``, ``EngineDisagrees``.
    """
    tell = progress or (lambda _what, _share: None)
    tell("checking weights", 0.0)
    check_supported(bundle.folder)
    bundle.check_weights()
    choice = choose_engine(engine, precision=bundle.manifest.runtime.precision)
    opened = partial(_opened, bundle, cache_folder=cache_folder, tell=tell, threads=threads or os.cpu_count() or 1)
    while True:
        try:
            return opened(choice)
        except (EngineDisagrees, EngineUnavailable) as exc:
            instead = next_choice(choice, exc, requested=engine)
            if instead is None:
                raise
            choice = instead


def _opened(bundle: Bundle, choice: Choice, *, cache_folder: Path, tell: Progress, threads: int) -> Model:
    config = InferenceConfig(bundle)
    plans = _plans(bundle, config, cache_folder=cache_folder, precision=choice.precision, threads=threads)
    engines: dict[str, Engine] = {}
    try:
        tell(f"opening engine {choice.name}", 0.2)
        for plan in plans:
            engines[plan.name] = backend(choice.name).open_engine(plan)
        program = open_program(config, engines)
        tell("comparing with the stored answer", 0.4)
        identity = _gated(bundle, program, plans, engines, cache_folder=cache_folder)
    except BaseException:
        for engine in engines.values():
            engine.close()
        raise
    tell("ready", 1.0)
    return Model(
        program,
        tuple(engines.values()),
        bundle.manifest,
        tier=choose_tier(config),
        identity=identity,
        reason=choice.reason,
    )


def _plans(
    bundle: Bundle, config: InferenceConfig, *, cache_folder: Path, precision: Precision, threads: int
) -> list[NetworkPlan]:
    return [
        NetworkPlan(
            name=weights.network,
            key=config.network_key(weights),
            make=partial(config.make_network, weights),
            cache_folder=cache_folder,
            precision=precision,
            threads=threads,
        )
        for weights in bundle.manifest.weights
    ]


def _gated(
    bundle: Bundle, program: Runnable, plans: list[NetworkPlan], engines: dict[str, Engine], *, cache_folder: Path
) -> EngineIdentity:
    first = engines[bundle.manifest.runtime.network]
    what = subject(
        bundle,
        engine=first.name,
        precision=first.precision,
        library_version=first.library_version,
        device=first.device,
    )
    if bundle.manifest.golden:
        run = partial(_run, program, bundle.manifest)
        golden = bundle.manifest.golden
        certificate = certify(bundle, golden, what, run=run, engines=engines, cache_folder=cache_folder).digest()
    else:
        certificate = certify_without_golden(bundle, what, plans, engines, cache_folder=cache_folder)
    return EngineIdentity(first.name, first.precision, first.library_version, first.device, certificate)


def _run(program: Runnable, manifest: Manifest, volume: Volume) -> ModelOutput:
    """The golden case has one input (``gate``)."""
    return answer(program, manifest, {manifest.inputs[0].name: volume})
