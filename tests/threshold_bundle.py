"""A real, runnable MONAI bundle in miniature: one convolution that marks voxels above 500, with exact known answers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from bundles import BRAIN, manifest

THRESHOLD = 500.0

_INFERENCE = {
    "imports": ["$import torch"],
    "bundle_root": ".",
    "device": "$torch.device('cpu')",
    "network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 4, "overlap": 0.25},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": True,
                "to_tensor": True,
            },
        ],
    },
}

_T1 = {
    "name": "image",
    "modality": ["MR"],
    "description_any": ["t1"],
    "body_part": ["HEAD", "BRAIN"],
    "min_instances": 8,
}


def write_threshold_bundle(folder: Path, *, threshold: float = THRESHOLD, **more: Any) -> Path:
    """Write the bundle; ``more`` replaces top-level keys of its manifest."""
    weight = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1, 1)
    bias = torch.tensor([0.0, -threshold])
    weights = save({"weight": weight, "bias": bias})
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "models" / "model.safetensors").write_bytes(weights)
    digest = hashlib.sha256(weights).hexdigest()
    described = manifest(
        BRAIN,
        **{
            "title": "Threshold phantom reader",
            "inputs": [_T1],
            "weights": [{"path": "models/model.safetensors", "network": "network_def", "sha256": digest}],
            **more,
        },
    )
    metadata = {
        "version": "0.1.0",
        "monai_version": "1.6.1",
        "pytorch_version": "2.13.0",
        "numpy_version": "2.4.6",
        "task": "threshold",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "MR",
                    "num_channels": 1,
                    "spatial_shape": [16, 16, 16],
                    "dtype": "float32",
                    "value_range": [0, 2000],
                    "is_patch_data": True,
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": 2,
                    "spatial_shape": [16, 16, 16],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {"0": "background", "1": "bright"},
                }
            },
        },
    }
    for name, content in (("metadata", metadata), ("inference", _INFERENCE), ("wetread", described)):
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
