"""A new version of a bundle: its files with new weights, calibration, golden answer, figures and model card."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from wetread.bundles import Bundle, load_bundle
from wetread.bundles.archive import LEFT_OUT
from wetread.bundles.bundle import file_sha256
from wetread.durable import make_folder, sync_folder
from wetread.infer.gate.golden import golden_images
from wetread.infer.model import open_model
from wetread.learn.appearance import Learned, write_guard
from wetread.learn.calibrate import Calibration
from wetread.learn.card import write_figures
from wetread.learn.cases import Part
from wetread.learn.config import CALIBRATION
from wetread.learn.lineage import METRICS
from wetread.learn.measures import Classification, figures_document
from wetread.learn.plots import learning_curves
from wetread.learn.settings import TrainingSettings
from wetread.learn.sources import Source
from wetread.nifti import write_nifti
from wetread.records.output import Scores
from wetread.records.volume import LabelMap

_CURVES = "learning_curves.png"
"""Beside the metrics."""
_LIBRARIES = ("torch", "monai", "pytorch-ignite", "numpy", "scikit-learn", "wetread")


@dataclass(frozen=True, slots=True)
class Effort:
    """What it took."""

    wall_s: float
    cpu_s: float
    threads: int


@dataclass(frozen=True, slots=True)
class Began:
    """When a training began."""

    wall: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)

    def now(self) -> Effort:
        """Since then."""
        wall_s, cpu_s = time.monotonic() - self.wall, time.process_time() - self.cpu
        return Effort(round(wall_s, 1), round(cpu_s, 1), torch.get_num_threads())


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """Everything that is told about a training."""

    settings: TrainingSettings
    command: str
    source: Source
    cases: Mapping[Part, int]
    history: tuple[Mapping[str, float], ...]
    """One entry for each epoch."""
    kept_epoch: int
    calibration: Calibration | None
    validation: Classification | None
    cross_validation: Classification | None
    """Of cases that the network that answered was not trained on."""
    effort: Effort
    notes: tuple[str, ...]
    guard: Learned | None = None
    """What the training films look like."""
    exports: tuple[str, ...] = ()
    """Exports of signed reads that it learned from, also by the weights it began with."""

    def document(self) -> dict[str, Any]:
        """``training/metrics.json``."""
        return {
            "schema_version": 1,
            "command": self.command,
            "seed": self.settings.seed,
            "decided": self.settings.decided(),
            "data": {
                "name": self.source.path.name,
                "sha256": self.source.sha256,
                "cases": dict(self.cases),
                "exports": list(self.exports),
            },
            "epochs": len(self.history),
            "kept_epoch": self.kept_epoch,
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "validation": figures_document(self.validation) if self.validation else None,
            "cross_validation": figures_document(self.cross_validation) if self.cross_validation else None,
            "guard": None if self.guard is None else self.guard.document(),
            "effort": asdict(self.effort),
            "machine": f"{platform.machine()}, {platform.system()}",
            "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
            "notes": list(self.notes),
            "history": [dict(entry) for entry in self.history],
        }


def write_version(
    bundle: Bundle,
    target: Path,
    weights: Mapping[str, Tensor],
    version: Version,
    *,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write the whole folder beside its place and put it there; a half-written version is never seen.

    ``config``: ids of the inference config that change with the weights.
    Raises: ``BundleInvalid`` and what ``open_model`` raises when the new version cannot read its golden case.
    """
    make_folder(target.parent)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as work:
        folder = Path(work) / target.name
        ignored = shutil.ignore_patterns(*LEFT_OUT, "eval", "__pycache__", "*.safetensors", "*.pt")
        shutil.copytree(bundle.folder, folder, ignore=ignored)
        _write_weights(folder, bundle, weights)
        _write_configs(folder, bundle, version, config or {})
        if version.guard is not None:
            write_guard(folder, version.guard)
        _write_golden_answer(folder, bundle)
        metrics = folder / METRICS
        metrics.parent.mkdir(exist_ok=True)
        _write_json(metrics, version.document())
        if version.history:
            learning_curves(version.history, metrics.with_name(_CURVES))
        write_figures(folder, version.document())
        folder.rename(target)
    sync_folder(target.parent)
    return target


def next_version(version: str) -> str:
    """The next minor version of ``1.2.3`` is ``1.3.0``."""
    major, minor, *_ = [*version.split("."), "0"]
    return f"{major}.{int(minor) + 1 if minor.isdigit() else 1}.0"


def _write_weights(folder: Path, bundle: Bundle, weights: Mapping[str, Tensor]) -> None:
    path = folder / _weights_path(bundle)
    path.parent.mkdir(exist_ok=True)
    safetensors.torch.save_file({name: value.contiguous().clone() for name, value in weights.items()}, path)


def _weights_path(bundle: Bundle) -> str:
    given = Path(bundle.manifest.weights[0].path)
    return str(given.with_suffix(".safetensors"))


def _write_configs(folder: Path, bundle: Bundle, version: Version, changed: Mapping[str, Any]) -> None:
    configs = folder / "configs"
    metadata = _read_json(configs / "metadata.json")
    metadata["version"] = version.settings.version or next_version(bundle.version)
    made = f"{'trained' if version.history else 'calibrated'} on {version.source.path.name}"
    made += f" with seed {version.settings.seed}"
    metadata["changelog"] = {**metadata.get("changelog", {}), metadata["version"]: made}
    _write_json(configs / "metadata.json", metadata)
    manifest = _read_json(configs / "wetread.json")
    path = _weights_path(bundle)
    network = bundle.manifest.weights[0].network
    manifest.pop("guard", None)  # what the films of the old version looked like
    manifest["weights"] = [{"path": path, "network": network, "sha256": file_sha256(folder / path)}]
    inference = dict(changed)
    if version.calibration is not None:
        manifest["scores"][0] |= {"threshold": version.calibration.threshold, "calibrated": True}
        inference[CALIBRATION] = {
            "temperature": version.calibration.temperature,
            "offset": version.calibration.offset,
        }
    if inference:
        path_of_config = configs / bundle.config_path.name
        _write_json(path_of_config, _read_json(path_of_config) | inference)
    _write_json(configs / "wetread.json", manifest)


def _write_golden_answer(folder: Path, bundle: Bundle) -> None:
    """What the new network itself says about the golden case; a kind of answer that has no file loses the case."""
    golden = bundle.manifest.golden
    if golden is None:
        return
    path = folder / "configs" / "wetread.json"
    manifest = _read_json(path)
    stored = manifest.pop("golden")
    _write_json(path, manifest)
    new = load_bundle(folder)
    with tempfile.TemporaryDirectory(prefix="wetread-golden-") as cache:
        model = open_model(new, engine="torch", cache_folder=Path(cache))
        answer = model.run(golden_images(new, golden))
        model.close()
    if isinstance(answer, Scores):
        (folder / golden.outputs()[0]).write_text(json.dumps({"scores": answer.values}) + "\n", encoding="utf-8")
    elif isinstance(answer, LabelMap):
        write_nifti(answer, folder / golden.outputs()[0])
    else:
        return
    _write_json(path, {**manifest, "golden": stored})


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
