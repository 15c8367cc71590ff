"""``wetread serve`` whose workers read the threshold bundle with NumPy: all of it is the real thing but the network.

Torch and MONAI take five seconds of CPU to import, in every worker. Tests of what happens before and after the
network need not pay for them; ``plain_serve.py`` is the ``wetread`` command with such workers.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wetread.bundles import Bundle, load_bundle
from wetread.errors import Misconfigured
from wetread.jobs.worker import Runner
from wetread.records.output import ModelOutput
from wetread.records.reading import EngineIdentity
from wetread.records.volume import LabelMap, Volume
from wetread.service.reading import BundleRunner, RunnerOpener


@dataclass(frozen=True)
class PlainTier:
    """How the bundle is driven."""

    name: str = "plain"
    reason: str = "a test"


@dataclass
class PlainReader:
    """Marks what is above the threshold that the bundle's own weights say."""

    threshold: float
    gate: Path | None = None
    """Of ``gated_bundle``: reads wait until there is this file."""
    tier: Any = field(default_factory=PlainTier)
    identity: EngineIdentity = field(
        default_factory=lambda: EngineIdentity("plain", "f32", np.__version__, "CPU", certificate="none")
    )
    choice_reason: str = "the test asks for it"
    forecast: Any = None

    def refresh(self) -> None:
        """It stays what it is."""

    def run(self, volumes: Mapping[str, Volume]) -> ModelOutput:
        """As the network of ``threshold_bundle`` does."""
        (volume,) = volumes.values()
        pause = threading.Event()
        while self.gate is not None and not self.gate.exists():
            pause.wait(0.02)
        return LabelMap((volume.array > self.threshold).astype(np.uint8), volume.affine)


class PlainRunner(BundleRunner):
    """Foresees nothing."""

    def _grids(self, _spec: object) -> list[Any]:
        return []


class PlainOpener(RunnerOpener):
    """Opens the bundle in the worker, without torch."""

    def __call__(self, bundle_folder: Path, bundle_digest: str) -> Runner:
        bundle = load_bundle(bundle_folder)
        if bundle.digest() != bundle_digest:
            raise Misconfigured(f"the files of bundle {bundle.name} have changed since the job was made")
        gate = _gate(bundle)
        if gate is not None:
            gate.with_suffix(".loaded").touch()
        return PlainRunner(bundle, PlainReader(_threshold(bundle), gate))


def _threshold(bundle: Bundle) -> float:
    """From its weights: a header of JSON, then the numbers (the safetensors format)."""
    data = (bundle.folder / bundle.manifest.weights[0].path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    first, last = json.loads(data[8 : 8 + size])["bias"]["data_offsets"]
    bias = np.frombuffer(data[8 + size :][first:last], dtype="<f4")
    return float(-bias[1])


def _gate(bundle: Bundle) -> Path | None:
    config = json.loads((bundle.folder / "configs" / "inference.json").read_bytes())
    paths = [Path(t["path"]) for t in config["preprocessing"]["transforms"] if t["_target_"] == "scripts.gate.Gate"]
    return paths[0] if paths else None


def main() -> int:
    """The command line, its workers exchanged."""
    from wetread.cli.main import run
    from wetread.service import coordinator

    coordinator.RunnerOpener = PlainOpener  # type: ignore[misc]
    return run(sys.argv[1:])
