"""What a bundle folder says about itself, without running anything: for the compatibility report and the template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wetread.bundles.bundle import TEMPLATE_NAME, inference_config, load_bundle
from wetread.bundles.manifest import WeightsFile
from wetread.bundles.static_check_files import read_config
from wetread.errors import BundleInvalid

NETWORK_IDS = ("network_def", "network", "net", "model")
"""What configs usually call their network."""
WEIGHT_FILES = ("models/model.safetensors", "models/model.pt", "models/model.ts")
"""What bundles usually call their weights, in the order in which they are taken."""
_COLOUR = ({"r", "g", "b"}, {"red", "green", "blue"})
_NOT_RADIOLOGY = frozenset({"rgb", "endoscopy", "pathology", "microscopy", "histology", "video"})


@dataclass(frozen=True, slots=True)
class CompatibilityReport:
    """Whether a bundle can run here, and what a site must still do. Everything is a sentence for a person."""

    folder: Path
    name: str
    version: str
    config: str
    """Name of the inference config, ``inference.json`` or YAML."""
    loads: bool
    """Every part was made and the weights fit."""
    tier: str
    """``components``, ``evaluator`` or ``detector``; empty when the config cannot be read."""
    tier_reason: str
    shims: tuple[str, ...]
    """What was adapted to today's libraries, in memory; the bundle's files stay as they are."""
    missing: tuple[str, ...]
    """What ``wetread.json`` still lacks."""
    problems: tuple[str, ...]
    """Why it does not load, or may not be used."""
    licence: tuple[str, ...]
    """Licences as far as they are known, and what is said about clinical use."""
    template: Path | None
    """A template for ``wetread.json`` that was written because there is none."""

    @property
    def usable(self) -> bool:
        """It loads, and nothing is missing."""
        return self.loads and not self.missing and not self.problems


def read_metadata(folder: Path) -> dict[str, Any]:
    """``configs/metadata.json``. Raises: ``BundleInvalid``."""
    path = folder / "configs" / "metadata.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise BundleInvalid(f"{path} is missing: {folder} is no MONAI bundle") from exc
    except ValueError as exc:
        raise BundleInvalid(f"{path} is not JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise BundleInvalid(f"{path} must hold a JSON object, it holds a {type(content).__name__}")
    return content


def input_specs(metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The network's inputs by key, as far as the metadata describe them."""
    inputs = metadata.get("network_data_format", {}).get("inputs", {})
    return {key: spec for key, spec in inputs.items() if isinstance(spec, dict)}


def output_names(metadata: dict[str, Any]) -> dict[int, str]:
    """Number and name of each output channel or label, as far as the metadata name them."""
    outputs = metadata.get("network_data_format", {}).get("outputs", {})
    for spec in outputs.values():
        named = (spec.get("channel_def") or spec.get("label_def")) if isinstance(spec, dict) else None
        if isinstance(named, dict):
            return {int(k): str(v) for k, v in named.items() if str(k).isdigit()}
    return {}


def guessed_weights(folder: Path) -> WeightsFile:
    """The usual weight file and network of a bundle without ``wetread.json``; the path is usual where no file is there.

    A TorchScript archive is a program to be run only where the config makes no network that could take its tensors.
    """
    path = next((name for name in WEIGHT_FILES if (folder / name).is_file()), "models/model.pt")
    config_path = inference_config(folder)
    try:
        config = read_config(config_path) if config_path.is_file() else {}
    except BundleInvalid:
        config = {}  # the check says what is wrong with it
    network = next((name for name in NETWORK_IDS if name in config), "")
    made = config.get(network)
    loads_it = isinstance(made, str) and "jit.load" in made
    program = path.endswith(".ts") and (not network or loads_it)
    return WeightsFile(path=path, network=network or NETWORK_IDS[0], sha256="", program=program)


def is_classifier(metadata: dict[str, Any]) -> bool:
    """Whether the metadata say that the answer is a score for each class and no image."""
    outputs = metadata.get("network_data_format", {}).get("outputs", {})
    specs = [spec for spec in outputs.values() if isinstance(spec, dict)]
    return any(spec.get("type") == "probabilities" or spec.get("format") == "classes" for spec in specs)


def check_supported(folder: Path) -> None:
    """Raises: ``BundleInvalid`` for a bundle that was made for images this program does not read."""
    problem = unsupported(read_metadata(folder))
    if problem:
        raise BundleInvalid(f"bundle {folder.name}: {problem}")


def unsupported(metadata: dict[str, Any]) -> str:
    """Why the bundle is not for radiological images, as a sentence; empty when it is, or nobody knows."""
    for key, spec in input_specs(metadata).items():
        channels = spec.get("channel_def") or {}
        names = {str(name).strip().lower() for name in channels.values()} if isinstance(channels, dict) else set()
        modality = str(spec.get("modality", "")).strip().lower()
        if names in _COLOUR or modality in _NOT_RADIOLOGY:
            said = ", ".join(map(str, channels.values())) if names in _COLOUR else modality
            return f"not supported: its input {key!r} is a colour image ({said}), Wetread reads grey-scale DICOM images"
    return ""


def missing_in_manifest(folder: Path) -> tuple[str, ...]:
    """What ``configs/wetread.json`` lacks; a folder without one lacks the whole."""
    if not (folder / "configs" / "wetread.json").is_file():
        return (f"configs/wetread.json is missing: fill in configs/{TEMPLATE_NAME} and rename it",)
    try:
        load_bundle(folder)
    except BundleInvalid as exc:
        return tuple(str(exc).split("; "))
    return ()


def licence_flags(folder: Path) -> tuple[str, ...]:
    """What is known about licences and clinical use: from ``wetread.json``, the metadata and the licence files."""
    metadata = read_metadata(folder)
    said = [f"intended use: {metadata['intended_use']}"] if metadata.get("intended_use") else []
    if (folder / "configs" / "wetread.json").is_file() and not missing_in_manifest(folder):
        manifest = load_bundle(folder).manifest
        licence = manifest.licence
        said += [f"{part} licence: {getattr(licence, part)}" for part in ("code", "weights", "training_data")]
        said.append("clinical use: " + ("allowed by wetread.json" if manifest.clinical_use else "no"))
    else:
        said.append("clinical use: unknown, so no; licences are not stated in wetread.json")
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and "licen" in p.name.lower()):
        text = path.read_text(encoding="utf-8", errors="replace").lower()
        if "non-commercial" in text or "noncommercial" in text:
            said.append(f"{path.relative_to(folder)} speaks of non-commercial use")
    return tuple(said)
