"""A MONAI inference config, driven component by component: no evaluator, no files in between."""

from __future__ import annotations

import hashlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import SimpleInferer
from monai.transforms import Compose, LoadImage, LoadImaged, SaveImage, SaveImaged
from torch import Tensor, nn

from wetread.bundles import Bundle
from wetread.bundles.manifest import WeightsFile
from wetread.errors import BundleInvalid
from wetread.infer.engine import Engine

Transform = Callable[[Any], Any]

logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)


class EngineNetwork(nn.Module):
    """Stands in the config where the bundle's network stood; an engine answers."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def forward(self, x: Tensor, *_args: object, **_kwargs: object) -> Tensor:
        """The engine's answer on the device of ``x``."""
        array = torch.as_tensor(x).detach().as_subclass(Tensor).cpu().numpy()
        return torch.from_numpy(self._engine(array)).to(x.device)


@dataclass(frozen=True, slots=True)
class Program:
    """What turns one image into one prediction."""

    preprocessing: Transform
    inferer: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]
    network: nn.Module
    postprocessing: Transform
    input_key: str
    output_key: str

    def __call__(self, image: MetaTensor) -> Tensor:
        """Image without a channel → prediction after postprocessing, ``(channel, i, j, k)``."""
        with torch.inference_mode():
            data = self.preprocessing({self.input_key: image})
            prepared = data[self.input_key]
            plain = prepared.as_tensor() if isinstance(prepared, MetaTensor) else prepared
            answer = self.inferer(plain[None], self.network)[0]
            data[self.output_key] = MetaTensor(answer, meta=dict(getattr(prepared, "meta", {})))
            del prepared, plain, answer
            return self.postprocessing(data)[self.output_key]


class InferenceConfig:
    """``configs/inference.json`` (or YAML) of a bundle.

    Config files are code (``_target_``, ``$``): open only bundles that are trusted.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        if (bundle.folder / "scripts").is_dir() and str(bundle.folder) not in sys.path:
            sys.path.insert(1, str(bundle.folder))

    def network_key(self, weights: WeightsFile) -> str:
        """SHA-256 (hex) over the config and the weights of one network."""
        config = self._bundle.config_path.read_bytes()
        return hashlib.sha256(config + f"\0{weights.network}\0{weights.sha256}".encode()).hexdigest()

    def make_network(self, weights: WeightsFile) -> nn.Module:
        """One network with its weights, in evaluation mode. Raises: ``BundleInvalid`` when they do not fit."""
        network = self._resolved(self._parser(), weights.network)
        if not isinstance(network, nn.Module):
            raise BundleInvalid(f"{self._bundle.config_path}: {weights.network} is not a network but {type(network)}")
        try:
            network.load_state_dict(_state_dict(self._bundle.folder / weights.path))
        except (RuntimeError, AttributeError, TypeError) as exc:
            raise BundleInvalid(f"{weights.path} does not fit {weights.network}: {exc}") from exc
        return network.eval().requires_grad_(False)

    def program(self, engines: Mapping[str, Engine]) -> Program:
        """The whole, with an engine in the place of every network named in ``engines``."""
        parser = self._parser()
        networks = {name: EngineNetwork(engine) for name, engine in engines.items()}
        for name, network in networks.items():
            parser[name] = network
        runtime = self._bundle.manifest.runtime
        if runtime.network not in networks:
            raise BundleInvalid(
                f"no weights are declared for the network {runtime.network!r} that the inferer is to run"
            )
        return Program(
            preprocessing=_in_memory(self._resolved(parser, "preprocessing"), key=runtime.input_key),
            inferer=self._resolved(parser, "inferer") if "inferer" in parser.config else SimpleInferer(),
            network=networks[runtime.network],
            postprocessing=_in_memory(self._resolved(parser, "postprocessing"), key=runtime.input_key),
            input_key=runtime.input_key,
            output_key=runtime.output_key,
        )

    def _parser(self) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config(str(self._bundle.config_path))
        parser.read_meta(str(self._bundle.folder / "configs" / "metadata.json"))
        parser["bundle_root"] = str(self._bundle.folder)
        parser["device"] = torch.device("cpu")
        return parser

    def _resolved(self, parser: ConfigParser, name: str) -> Any:
        try:
            with warnings.catch_warnings():
                # MONAI's DICOM reader misses an optional GPU decoder; readers are dropped here anyway.
                warnings.filterwarnings("ignore", message="NvImgCodec")
                return parser.get_parsed_content(name)
        except Exception as exc:  # a config may raise anything: it is code
            raise BundleInvalid(f"{self._bundle.config_path}: {name!r} cannot be made: {exc}") from exc


def _state_dict(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return dict(safetensors.torch.load_file(path))
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def _in_memory(transforms: Any, *, key: str) -> Transform:
    """The transforms without those that read or write files; what a reader did besides reading is kept."""
    kept: list[Transform] = []
    for transform in _flat(transforms):
        if isinstance(transform, (SaveImage, SaveImaged)):
            continue
        if isinstance(transform, (LoadImage, LoadImaged)):
            reader = transform if isinstance(transform, LoadImage) else transform._loader
            if reader.ensure_channel_first:
                kept.append(lambda data: {**data, key: data[key][None]})
            continue
        kept.append(transform)
    return Compose(kept)


def _flat(transforms: Any) -> Iterator[Transform]:
    """The single transforms of a list or Compose, or one alone; nested ones unfolded."""
    if isinstance(transforms, Compose):
        transforms = transforms.transforms
    if isinstance(transforms, Iterable):
        for transform in transforms:
            yield from _flat(transform)
    elif transforms is not None:
        yield transforms
