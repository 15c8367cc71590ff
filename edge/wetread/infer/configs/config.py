"""A bundle's inference config (JSON or YAML), read, adapted to this machine, and made into a program."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from monai.bundle import ConfigParser
from torch import nn

from wetread.bundles import Bundle
from wetread.bundles.bundle import file_sha256
from wetread.bundles.manifest import Runtime, WeightsFile
from wetread.errors import BundleInvalid
from wetread.infer.configs.in_memory import keep_in_memory
from wetread.infer.configs.plain import load_plain
from wetread.infer.configs.shims import Applied, apply_shims
from wetread.infer.configs.tree import META, Config, components, detector_id, short_name
from wetread.infer.configs.weights import is_torchscript, load_program, load_weights


@dataclass(frozen=True, slots=True)
class Source:
    """Which config, and how the manifest wants it driven."""

    folder: Path
    config_path: Path
    runtime: Runtime


class InferenceConfig:
    """``configs/inference.json`` or YAML of a bundle, with what it needs to run here.

    Config files are code (``_target_``, ``$``): open only bundles that are trusted. Nothing is evaluated before a part
    is asked for, so expressions about files that only the author had are never run.
    """

    def __init__(self, bundle: Bundle | Source) -> None:
        """Read the config and apply the shims. Raises: ``BundleInvalid``."""
        runtime = bundle.manifest.runtime if isinstance(bundle, Bundle) else bundle.runtime
        self.folder, self.path, self.runtime = bundle.folder, bundle.config_path, runtime
        self._config = _read(self.path)
        for key, value in runtime.override.items():
            self._override(key, value)
        self.shims: tuple[Applied, ...] = apply_shims(self._config, self.folder)
        self.dropped = keep_in_memory(self._config, drop=runtime.drop)
        _use_scripts(self.folder)

    @property
    def config(self) -> Config:
        """The config after shims, not parsed: for deciding what the bundle needs."""
        return self._config

    def network_key(self, weights: WeightsFile) -> str:
        """SHA-256 (hex) over everything that makes one network: config, overrides, scripts and weights."""
        digest = hashlib.sha256(self.path.read_bytes())
        digest.update(self.runtime.model_dump_json(include={"override"}).encode())
        for script in sorted((self.folder / "scripts").rglob("*.py")):
            digest.update(script.relative_to(self.folder).as_posix().encode() + file_sha256(script).encode())
        for path in self.beside_weights():
            digest.update(file_sha256(path).encode())
        digest.update(f"\0{weights.network}\0{weights.sha256}".encode())
        if weights.program:  # the same file as another function
            digest.update(b"\0program")
        return digest.hexdigest()

    def make_network(self, weights: WeightsFile) -> nn.Module:
        """One network with its weights, in evaluation mode. Raises: ``BundleInvalid`` when they do not fit."""
        if weights.program:
            network = load_program(self.folder / weights.path)
        elif weights.network not in self._config and is_torchscript(self.folder / weights.path):
            raise BundleInvalid(
                f"{self.path} makes no {weights.network} for the tensors of {weights.path}; as TorchScript that is a "
                'network by itself: "program": true in wetread.json, and somebody who vouches for it'
            )
        else:
            network = self.bare_network(weights.network)
            load_weights(network, self.folder / weights.path, name=f"{weights.path} for {weights.network}")
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        return _for_engines(network.eval(), detector=bool(detector_id(self._config)))

    def bare_network(self, name: str) -> nn.Module:
        """One network as the config makes it. Raises: ``BundleInvalid`` when it is none."""
        if name not in self._config:
            raise BundleInvalid(
                f"{self.path} makes no {name}: runtime.network and weights in wetread.json name its network"
            )
        self.beside_weights()
        network = self.resolved(self.parser(), name)
        if not isinstance(network, nn.Module):
            raise BundleInvalid(f"{self.path}: {name} is not a network but {type(network)}")
        return network

    def beside_weights(self) -> list[Path]:
        """Files of arrays that networks are made of. Raises: ``BundleInvalid`` for one that is not of the bundle."""
        loading = [name for name, component in components(self._config) if short_name(component) == load_plain.__name__]
        parser = self.parser() if loading else None
        paths = [Path(str(self.resolved(parser, f"{name}::path"))).resolve() for name in loading if parser]
        for path in paths:
            if not path.is_relative_to(self.folder.resolve()):
                raise BundleInvalid(f"{self.path} takes arrays from {path}, which is not a file of the bundle")
            if not path.is_file():
                raise BundleInvalid(f"{path} is missing{_published(self.folder)}")
        return paths

    def parser(self, replaced: Mapping[str, Any] | None = None) -> ConfigParser:
        """A parser over a fresh copy of the config, with live objects in the place of the ids in ``replaced``."""
        parser = ConfigParser()
        parser.read_config(_copied(self._config))
        for name, value in (replaced or {}).items():
            parser[name] = value
        return parser

    def resolved(self, parser: ConfigParser, name: str) -> Any:
        """What the config makes of ``name``. Raises: ``BundleInvalid`` with what MONAI says."""
        if name.replace("#", "::").partition("::")[0] not in parser.config:
            raise BundleInvalid(f"{self.path} has no {name!r}, which a read needs")
        try:
            with warnings.catch_warnings():
                # MONAI's DICOM reader misses an optional GPU decoder; readers are not used here anyway.
                warnings.filterwarnings("ignore", message="NvImgCodec")
                with redirect_stdout(sys.stderr):  # some networks print; standard output is for our answer
                    return parser.get_parsed_content(name)
        except Exception as exc:  # a config may raise anything: it is code
            raise BundleInvalid(f"{self.path}: {name!r} cannot be made: {_root(exc)}") from exc

    def _override(self, key: str, value: object) -> None:
        target: Any = self._config
        *way, last = key.replace("#", "::").split("::")
        for name in way:
            target = target.get(name) if isinstance(target, dict) else None
        if not isinstance(target, dict) or last not in target:
            raise BundleInvalid(f"wetread.json overrides {key!r}, which {self.path.name} does not have")
        target[last] = value


def _published(folder: Path) -> str:
    """Where the zoo keeps what is too large for its repository."""
    return (
        "; large_files.yml in the bundle says where it is published" if (folder / "large_files.yml").is_file() else ""
    )


def _for_engines(network: nn.Module, *, detector: bool) -> nn.Module:
    """Engines answer with one tensor; a detector's network answers with many, which are packed into one."""
    if not detector:
        return network
    from wetread.infer.networks.packing import packed

    return packed(network)


def _read(path: Path) -> Config:
    try:
        config = ConfigParser.load_config_file(str(path))
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as exc:
        raise BundleInvalid(f"{path} cannot be read: {exc}") from exc
    if not isinstance(config, dict):
        raise BundleInvalid(f"{path} must hold one mapping, it holds a {type(config).__name__}")
    metadata = path.parent / "metadata.json"
    config[META] = ConfigParser.load_config_file(str(metadata)) if metadata.is_file() else {}
    return dict(config)


def _copied(value: Any) -> Any:
    """A deep copy of the containers; MONAI changes the config it is given."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _root(exc: BaseException) -> str:
    """What first went wrong; MONAI's wrappers only say which id was being made."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    said = str(exc).splitlines() or [""]  # MONAI's errors go on about how to install and where to read
    advice = "; install torchvision, the build for this PyTorch" if "torchvision" in said[0] else ""
    return f"{type(exc).__name__}: {said[0]}{advice}"


def _use_scripts(folder: Path) -> None:
    """Make ``import scripts`` find this bundle's. Raises: ``BundleInvalid`` when another bundle's are loaded."""
    if not (folder / "scripts").is_dir():
        return
    loaded = sys.modules.get("scripts")
    homes = [Path(path) for path in getattr(loaded, "__path__", ())]
    if homes and (folder / "scripts").resolve() not in [home.resolve() for home in homes]:
        raise BundleInvalid(
            f"this process already runs the scripts of {homes[0].parent.name}; {folder.name} has scripts of its own "
            "and needs a process of its own"
        )
    if str(folder) not in sys.path:
        sys.path.insert(1, str(folder))
