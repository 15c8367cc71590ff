"""Bundles with small networks made on the spot: a threshold with a known answer, a random U-Net with a window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.networks.nets import UNet
from safetensors.torch import save_file
from torch import nn

from bundles import BRAIN, manifest
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.bundle import file_sha256
from wetread.records.study import SeriesRef
from wetread.records.volume import Volume

THRESHOLD = 0.5
OPTIONAL_BRAIN = {**BRAIN, "required": False}


def oblique_volume(shape: tuple[int, int, int] = (18, 40, 33), *, seed: int = 7) -> Volume:
    """Smooth noise in 0 to 1 on a rotated, anisotropic grid; no axis is like another."""
    coarse = torch.rand((1, 1, 4, 7, 5), generator=torch.Generator().manual_seed(seed))
    array = nn.functional.interpolate(coarse, shape, mode="trilinear")[0, 0].numpy()
    rotation, _ = np.linalg.qr(np.array([[0.1, 0.2, 1.0], [0.15, -1.0, 0.2], [-1.0, 0.1, 0.2]]))
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.array([3.0, 0.9, 1.2])
    affine[:3, 3] = (-31.0, 55.0, 12.5)
    series = SeriesRef("1.2.3", "MR", ())
    return Volume(array, affine, series, (), "1.2.4")


def threshold_bundle(folder: Path, *, golden: bool = True, output: Any = None, **more: Any) -> Bundle:
    """A bundle whose label 1 is where the image is above ``THRESHOLD``; ``output`` replaces the golden answer."""
    network = nn.Conv3d(1, 2, 1)
    network.load_state_dict(
        {"weight": torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1, 1), "bias": torch.tensor([THRESHOLD, -THRESHOLD])}
    )
    config = {
        "network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1},
        "preprocessing": _compose(_LOAD, _CHANNEL, _RAS),
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": _compose({"_target_": "AsDiscreted", "keys": "pred", "argmax": True}, _INVERT, _SAVE),
    }
    if golden:
        more["golden"] = _golden(folder, output)
    return _written(folder, config, network, **more)


def unet_bundle(folder: Path) -> Bundle:
    """A plain MONAI bundle as the Model Zoo has them: resampling, sliding window, softmax, inversion, argmax."""
    arguments = {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4, 8],
        "strides": [2],
        "num_res_units": 1,
        "norm": "instance",
    }
    torch.manual_seed(3)
    config = {
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {"_target_": "UNet", **arguments},
        "network": "$@network_def.to(@device)",
        "preprocessing": _compose(
            {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
            _RAS,
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
            {"_target_": "ScaleIntensityd", "keys": "image"},
        ),
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "sw_batch_size": 2, "overlap": 0.25},
        "postprocessing": _compose(
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            _INVERT,
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            _SAVE,
        ),
    }
    return _written(folder, config, UNet(**arguments))


_LOAD = {"_target_": "LoadImaged", "keys": "image"}
_CHANNEL = {"_target_": "EnsureChannelFirstd", "keys": "image"}
_RAS = {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None}
_INVERT = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"}
_SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@bundle_root + '/eval'"}


def _compose(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(transforms)}


def _golden(folder: Path, output: Any) -> dict[str, str]:
    volume = oblique_volume((12, 20, 16), seed=1)
    answer = (volume.array > THRESHOLD).astype(np.uint8) if output is None else output
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("in", volume.array), ("out", np.asarray(answer, np.uint8))):
        nibabel.save(
            nibabel.Nifti1Image(array.transpose(2, 1, 0), np.diag([2.0, 2.0, 3.0, 1.0])), folder / f"{name}.nii.gz"
        )
    return {"input": "in.nii.gz", "output": "out.nii.gz", "origin": "smooth noise; numpy's comparison"}


def _written(folder: Path, config: dict[str, Any], network: nn.Module, **more: Any) -> Bundle:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    weights = folder / "models" / "model.safetensors"
    save_file(network.state_dict(), weights)
    image = {"num_channels": 1, "spatial_shape": [32, 32, 32]}
    metadata = {
        "version": "0.1.0",
        "monai_version": "1.6.1",
        "task": "test",
        "network_data_format": {"inputs": {"image": image}, "outputs": {}},
    }
    entry = {"path": "models/model.safetensors", "network": "network_def", "sha256": file_sha256(weights)}
    own = manifest(OPTIONAL_BRAIN, **{"weights": [entry], **more})
    for name, content in (("metadata", metadata), ("inference", config), ("wetread", own)):
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return load_bundle(folder)
