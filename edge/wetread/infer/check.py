"""Does a bundle from anywhere run here? Makes every part of it once and says what stands in the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from wetread.bundles.bundle import inference_config, load_bundle
from wetread.bundles.check import (
    WEIGHT_FILES,
    CompatibilityReport,
    guessed_weights,
    licence_flags,
    missing_in_manifest,
    read_metadata,
    unsupported,
)
from wetread.bundles.manifest import Runtime, WeightsFile
from wetread.bundles.template import write_template
from wetread.errors import BundleInvalid, WetreadError
from wetread.infer.configs.config import InferenceConfig, Source
from wetread.infer.engines.engine import FloatArray
from wetread.infer.tiers import choose_tier, open_program


@dataclass(slots=True)
class _Findings:
    loads: bool = False
    tier: str = ""
    tier_reason: str = ""
    shims: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)


def check_bundle(folder: Path, cache_folder: Path) -> CompatibilityReport:
    """Read, adapt and make every part of the bundle in ``folder``, also of one without a ``wetread.json``.

    Runs the bundle's code, so only for folders that passed the static check. Without ``wetread.json`` a template is
    written into ``configs/``, or into ``cache_folder`` when the bundle's folder cannot be written.
    Raises: ``BundleInvalid`` when the folder is no MONAI bundle at all.
    """
    metadata = read_metadata(folder)
    missing = missing_in_manifest(folder)
    source = _source(folder, complete=not missing)
    found = _Findings(problems=[p for p in (unsupported(metadata),) if p])
    if source.config_path.is_file():
        _try(source, folder, found, complete=not missing)
    else:
        found.problems.append("there is no configs/inference.json or inference.yaml")
    return CompatibilityReport(
        folder=folder,
        name=folder.name,
        version=str(metadata.get("version", "")),
        config=source.config_path.name,
        loads=found.loads,
        tier=found.tier,
        tier_reason=found.tier_reason,
        shims=found.shims,
        missing=missing,
        problems=tuple(found.problems),
        licence=licence_flags(folder),
        template=None if (folder / "configs" / "wetread.json").is_file() else write_template(folder, cache_folder),
    )


def _source(folder: Path, *, complete: bool) -> Source:
    """With the manifest's settings, or with what can be guessed without one."""
    if complete:
        bundle = load_bundle(folder)
        return Source(folder, bundle.config_path, bundle.manifest.runtime)
    return Source(folder, inference_config(folder), Runtime())


def _try(source: Source, folder: Path, found: _Findings, *, complete: bool) -> None:
    try:
        config = InferenceConfig(source)
        tier = choose_tier(config)
        found.tier, found.tier_reason = tier.name, tier.reason
        found.shims = tuple(f"{shim.name}: {shim.what}" for shim in config.shims)
        weights = load_bundle(folder).manifest.weights if complete else (_weights_there(folder),)
        for entry in weights:
            config.make_network(entry)
        if not complete:
            config.runtime = config.runtime.model_copy(update={"network": weights[0].network})
        open_program(config, {entry.network: _NoEngine() for entry in weights})
        found.loads = True
    except WetreadError as exc:
        found.problems.append(str(exc))


def _weights_there(folder: Path) -> WeightsFile:
    """The usual network and file. Raises: ``BundleInvalid`` when there is no file."""
    guessed = guessed_weights(folder)
    if not (folder / guessed.path).is_file():
        raise BundleInvalid(f"the weights are not here: there is none of {', '.join(WEIGHT_FILES)}")
    return guessed


class _NoEngine:
    """Takes a network's place while the parts are made; nothing is computed."""

    name = precision = library_version = device = ""
    where = torch.device("cpu")

    def __call__(self, array: FloatArray) -> FloatArray:
        raise RuntimeError("the check computes nothing")

    def on_device(self, images: Tensor) -> Tensor:
        raise RuntimeError("the check computes nothing")

    def artefacts(self) -> dict[str, str]:
        """Nothing compiled."""
        return {}

    def close(self) -> None:
        """Holds nothing."""
