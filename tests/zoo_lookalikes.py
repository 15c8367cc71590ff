"""Bundles with the quirks of the MONAI Model Zoo's, described by us, with small networks made on the spot.

Each is written as a site would find it after a download, with what its ``wetread.json`` needs. Where the network is a
1×1×1 convolution the right answer is known: on the CT phantom (air −1000, body 40, large 300, small 800 HU) the large
ellipsoid is label 1 and the small one label 2.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from bundles import label, manifest, vouched
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.bundle import file_sha256
from zoo_scripts import SCRIPTS

Config = dict[str, Any]
KIDNEY, STONE = ("64033007", "Kidney"), ("56381008", "Calculus")
TWO = (label(1, "Kidney", KIDNEY), label(2, "Stone", STONE, role="finding"))
CODE = {"value": "64033007", "scheme": "SCT", "meaning": "Kidney"}


@dataclass
class Lookalike:
    """What a download holds, and what a site writes about it."""

    config: Config
    network: nn.Module
    labels: tuple[dict[str, Any], ...] = TWO
    own: dict[str, Any] = field(default_factory=dict)
    """Top-level keys of ``wetread.json``."""
    inputs: tuple[tuple[str, str], ...] = (("image", "image"),)
    """Name and key of each input; each name is found in the series description."""
    channels: dict[str, str] = field(default_factory=lambda: {"0": "image"})
    spatial_shape: tuple[Any, ...] = (32, 32, 32)
    scripts: str = ""
    checkpoint: Callable[[dict[str, torch.Tensor]], Any] = dict
    beside: dict[str, Any] = field(default_factory=dict)
    """Further files in ``models/`` and what ``torch.save`` writes into them."""
    yaml: bool = False


def write(folder: Path, lookalike: Lookalike, *, own: bool = True) -> Bundle:
    """Write the bundle and vouch for it; without ``own`` just as it was downloaded, and then it is not loaded."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    torch.save(lookalike.checkpoint(lookalike.network.state_dict()), folder / "models" / "model.pt")
    for name, content in lookalike.beside.items():
        torch.save(content, folder / "models" / name)
    for name, text in SCRIPTS.get(lookalike.scripts, {}).items():
        (folder / "scripts").mkdir(exist_ok=True)
        (folder / "scripts" / name).write_text(text, encoding="utf-8")
    _save(folder, "metadata", _metadata(lookalike))
    if lookalike.yaml:
        (folder / "configs" / "inference.yaml").write_text(yaml.safe_dump(lookalike.config), encoding="utf-8")
    else:
        _save(folder, "inference", lookalike.config)
    if own:
        _save(folder, "wetread", _manifest(folder, lookalike))
    return vouched(load_bundle(folder)) if own else Bundle(folder, folder.name, "", "", None)  # type: ignore[arg-type]


def _save(folder: Path, name: str, content: Config) -> None:
    (folder / "configs" / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def _metadata(lookalike: Lookalike) -> Config:
    spec = {
        "type": "image",
        "format": "hounsfield",
        "modality": "CT",
        "num_channels": len(lookalike.channels),
        "spatial_shape": list(lookalike.spatial_shape),
        "channel_def": lookalike.channels,
    }
    names = {"0": "background", **{str(item["value"]): item["name"] for item in lookalike.labels}}
    return {
        "version": "0.1.0",
        "monai_version": "1.3.0",
        "task": "a look-alike",
        "intended_use": "This is an example, not to be used for diagnostic purposes",
        "network_data_format": {"inputs": {"image": spec}, "outputs": {"pred": {"channel_def": names}}},
    }


def _manifest(folder: Path, lookalike: Lookalike) -> Config:
    weights = folder / "models" / "model.pt"
    inputs = [
        {"name": name, "key": key, "modality": ["CT", "MR"], "description_any": [name], "min_instances": 2}
        for name, key in lookalike.inputs
    ]
    entry = {"path": "models/model.pt", "network": "network_def", "sha256": file_sha256(weights)}
    return manifest(*lookalike.labels, **{"inputs": inputs, "weights": [entry], **lookalike.own})


def steps(*transforms: Config) -> Config:
    return {"_target_": "Compose", "transforms": list(transforms)}


def step(target: str, keys: Any = "image", **more: Any) -> Config:
    return {"_target_": target, "keys": keys, **more}


LOAD, CHANNEL, RAS = step("LoadImaged"), step("EnsureChannelFirstd"), step("Orientationd", axcodes="RAS")
SPACING = step("Spacingd", pixdim=[1.5, 1.5, 2.0], mode="bilinear")
SOFTMAX, SIGMOID = step("Activationsd", "pred", softmax=True), step("Activationsd", "pred", sigmoid=True)
ARGMAX, THRESHOLD = step("AsDiscreted", "pred", argmax=True), step("AsDiscreted", "pred", threshold=0.5)
SAVE = step("SaveImaged", "pred", meta_keys="pred_meta_dict", output_dir="@output_dir")
CHECKPOINT = {
    "_target_": "CheckpointLoader",
    "load_path": "$@bundle_root + '/models/model.pt'",
    "load_dict": {"model": "@network"},
}
WINDOW = {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "sw_batch_size": 4, "overlap": 0.25}


def invert(*, nearest: bool = False, orig: str = "image") -> Config:
    more = {"nearest_interp": nearest, "to_tensor": True, "meta_key_postfix": "meta_dict"}
    return step("Invertd", "pred", transform="@preprocessing", orig_keys=orig, **more)


def zoo_config(network: Config, preprocessing: Any, postprocessing: Any, **more: Any) -> Config:
    """The skeleton that the zoo's inference configs share; ``more`` adds and replaces top-level keys."""
    config = {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/workspace/data/somebody's",
        "datalist": "$[{'image': open(p)} for p in glob.glob(@dataset_dir + '/*.nii.gz')]",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": preprocessing,
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 4},
        "inferer": WINDOW,
        "postprocessing": postprocessing,
        "handlers": [CHECKPOINT, {"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": True,
        },
        "initialize": ["$setattr(torch.backends.cudnn, 'benchmark', True)"],
        "run": ["$@evaluator.run()"],
    }
    merged = {**config, **more}
    return {key: value for key, value in merged.items() if value is not None}


CONV = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 3, "kernel_size": 1}


def conv(*, classes: int = 3, dimensions: int = 3) -> nn.Module:
    """Class 1 from 200 HU, class 2 from 500 HU; any further class nowhere."""
    layer = (nn.Conv3d if dimensions == 3 else nn.Conv2d)(1, classes, 1)
    weight, bias = torch.zeros(classes), torch.full((classes,), -1e6)
    weight[1], weight[2] = 1.0, 2.0
    bias[0], bias[1], bias[2] = 0.0, -200.0, -700.0
    layer.load_state_dict({"weight": weight.reshape(layer.weight.shape), "bias": bias})
    return layer.eval()


def per_channel(channels: int, above: float) -> nn.Module:
    """Output ``c`` is input channel ``c`` minus ``above``."""
    layer = nn.Conv3d(channels, channels, 1)
    weight = torch.eye(channels).reshape(channels, channels, 1, 1, 1)
    layer.load_state_dict({"weight": weight, "bias": torch.full((channels,), -above)})
    return layer.eval()


def seeded(network: nn.Module) -> nn.Module:
    """Random weights that are the same in every run, whatever was made before."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    return network.eval()
