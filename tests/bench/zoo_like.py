"""Bundles with the configuration of Model Zoo bundles and random weights, and volumes of their kind: for benches only.

What is copied from the zoo is what costs time and memory: the transforms and their order, the window, the architecture,
the processes that load (``num_workers``), mixed precision (which MONAI has on a GPU only) and how results are written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.networks.nets import SegResNet, SwinUNETR, UNet
from safetensors.torch import save_file
from scipy import ndimage
from torch import nn

from wetread.bundles import Bundle, load_bundle
from wetread.bundles.bundle import file_sha256

Array = npt.NDArray[np.float32]

SPLEEN: dict[str, Any] = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [16, 32, 64, 128, 256],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "batch",
}
SWIN: dict[str, Any] = {
    "_target_": "SwinUNETR",
    "in_channels": 1,
    "out_channels": 14,
    "feature_size": 24,
    "use_checkpoint": False,
}
WHOLE_BODY: dict[str, Any] = {
    "_target_": "SegResNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 105,
    "init_filters": 32,
    "blocks_down": [1, 2, 2, 4],
    "blocks_up": [1, 1, 1],
    "dropout_prob": 0.2,
}
_CLASSES = {"UNet": UNet, "SwinUNETR": SwinUNETR, "SegResNet": SegResNet}


def spleen_bundle(folder: Path) -> Bundle:
    """As ``spleen_ct_segmentation``: U-Net, two classes, softmax, invert, argmax."""
    scale = {"a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True}
    return _bundle(folder, SPLEEN, _preprocessing(1.5, 1.5, 2.0, {"_target_": "ScaleIntensityRanged", **scale}))


def swin_bundle(folder: Path) -> Bundle:
    """As ``swin_unetr_btcv_segmentation`` with half its width: 14 classes, softmax, invert, argmax."""
    scale = {"a_min": -175, "a_max": 250, "b_min": 0, "b_max": 1, "clip": True}
    return _bundle(folder, SWIN, _preprocessing(1.5, 1.5, 2.0, {"_target_": "ScaleIntensityRanged", **scale}))


def whole_body_bundle(folder: Path) -> Bundle:
    """As ``wholeBody_ct_segmentation`` at its finer resolution: 105 classes, argmax before the inversion."""
    preprocessing = _preprocessing(
        *(1.5, 1.5, 1.5),
        {"_target_": "NormalizeIntensityd", "nonzero": True},
        {"_target_": "ScaleIntensityd", "minv": -1.0, "maxv": 1.0},
    )
    inferer = {**_WINDOW, "sw_batch_size": 1, "overlap": 0.25, "padding_mode": "replicate", "mode": "gaussian"}
    invert = {**_INVERT, "nearest_interp": True}
    postprocessing = [_SOFTMAX, _ARGMAX, invert]
    return _bundle(folder, WHOLE_BODY, preprocessing, inferer=inferer, postprocessing=postprocessing, workers=1)


def body_ct(shape: tuple[int, int, int], *, seed: int = 0) -> Array:
    """``(slice, row, column)``, HU: an ellipse of tissue with organs of smooth noise, in air with a little noise."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=tuple(max(4, n // 12) for n in shape)).astype(np.float32)
    zoom = [n / c for n, c in zip(shape, coarse.shape, strict=True)]
    tissue = ndimage.zoom(coarse, zoom, order=1, grid_mode=True, mode="nearest")[tuple(map(slice, shape))] * 80 + 40
    rows, columns = np.ogrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    body = (rows / 0.7) ** 2 + (columns / 0.85) ** 2 < 1
    noise = random.normal(scale=8, size=shape).astype(np.float32)
    return np.asarray(np.where(body[None], tissue, -1000) + noise, np.float32).round()


_SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
_ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
_INVERT = {
    "_target_": "Invertd",
    "keys": "pred",
    "transform": "@preprocessing",
    "orig_keys": "image",
    "nearest_interp": False,
    "to_tensor": True,
}
_WINDOW = {"roi_size": [96, 96, 96], "sw_batch_size": 4, "overlap": 0.5}


def _preprocessing(*spacing_mm_then_scaling: Any) -> list[dict[str, Any]]:
    pixdim, scaling = list(spacing_mm_then_scaling[:3]), spacing_mm_then_scaling[3:]
    return [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        {"_target_": "Spacingd", "keys": "image", "pixdim": pixdim, "mode": "bilinear"},
        *({**step, "keys": "image"} for step in scaling),
        {"_target_": "EnsureTyped", "keys": "image"},
    ]


def _bundle(
    folder: Path,
    network: dict[str, Any],
    preprocessing: list[dict[str, Any]],
    *,
    inferer: dict[str, Any] = _WINDOW,
    postprocessing: list[dict[str, Any]] | None = None,
    workers: int = 4,
) -> Bundle:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    state = _random_weights(network)
    save_file(state, folder / "models" / "model.safetensors")
    torch.save(state, folder / "models" / "model.pt")
    save = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "output_dtype": "$np.float32"}
    post = [*(postprocessing or [_SOFTMAX, _INVERT, _ARGMAX]), {**save, "output_ext": ".nii.gz"}]
    config = {
        "imports": ["$import glob", "$import numpy as np", "$import torch"],
        "bundle_root": str(folder),
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "@bundle_root",
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*.nii'))",
        "device": "$torch.device('cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": preprocessing},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': i} for i in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": workers,
        },
        "inferer": {"_target_": "SlidingWindowInferer", **inferer},
        "postprocessing": {"_target_": "Compose", "transforms": post},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
            "amp": True,
        },
        # The zoo loads weights when the run starts; here before, so that the time of a run does not hold it.
        "initialize": ["$@network_def.load_state_dict(torch.load(@bundle_root + '/models/model.pt'))"],
        "run": ["$@evaluator.run()"],
    }
    for name, content in (
        ("inference", config),
        ("metadata", _metadata(network["out_channels"])),
        ("wetread", _manifest(folder, network["out_channels"])),
    ):
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return load_bundle(folder)


def _random_weights(network: dict[str, Any]) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    made: nn.Module = _CLASSES[network["_target_"]](**{k: v for k, v in network.items() if k != "_target_"})
    return {name: value.contiguous().clone() for name, value in made.state_dict().items()}


def _metadata(classes: int) -> dict[str, Any]:
    image = {"num_channels": 1, "spatial_shape": [96, 96, 96], "format": "hounsfield", "modality": "CT"}
    pred = {"num_channels": classes, "spatial_shape": [96, 96, 96], "format": "segmentation"}
    return {
        "version": "0.1.0",
        "monai_version": "1.6.1",
        "task": "bench",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }


def _manifest(folder: Path, classes: int) -> dict[str, Any]:
    code = {"value": "123037004", "scheme": "SCT", "meaning": "Anatomical Structure"}
    labels = [
        {"value": n, "name": f"class {n}", "role": "anatomy", "category": code, "type": code, "colour_rgb": [9, 9, 9]}
        for n in range(1, classes)
    ]
    weights = folder / "models" / "model.safetensors"
    return {
        "schema_version": 1,
        "title": "Bench",
        "intended_use": "bench",
        "not_for": ["anything else"],
        "clinical_use": False,
        "licence": {"code": "Apache-2.0", "weights": "none", "training_data": "none"},
        "training_data": "none",
        "inputs": [{"name": "image", "modality": ["CT"]}],
        "labels": labels,
        "procedure": {"value": "77477000", "scheme": "SCT", "meaning": "CT"},
        "weights": [{"path": "models/model.safetensors", "network": "network_def", "sha256": file_sha256(weights)}],
    }
