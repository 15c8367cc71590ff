"""A real, runnable MONAI classifier of films in miniature: one convolution over the whole film, with a known answer.

It compares the heart's place with its mirror image: sure of itself on a film that hangs upright, and of the opposite
on one that hangs mirrored. Its config is driven as it is by ``python -m monai.bundle run``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from bundles import LUNG, manifest, vouched
from wetread.bundles import Bundle, load_bundle

SIDE = 28
TEMPERATURE = 1.5
PNEUMONIA = {"value": "233604007", "scheme": "SCT", "meaning": "Pneumonia"}

_INFERENCE = {
    "imports": ["$import torch"],
    "bundle_root": ".",
    "device": "$torch.device('cpu')",
    "network_def": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": SIDE},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
            {"_target_": "Resized", "keys": "image", "spatial_size": [SIDE, SIDE], "mode": "area"},
        ],
    },
    "inferer": {"_target_": "SimpleInferer"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda logit: logit / {TEMPERATURE}"},
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
        ],
    },
}

RULE = {
    "name": "film",
    "key": "image",
    "kind": "radiograph",
    "modality": ["CR", "DX"],
    "body_part": ["CHEST"],
    "view_position": ["AP"],
    "choose": "all",
}

SCORE = {
    "name": "Pneumonia",
    "index": 0,
    "condition": PNEUMONIA,
    "site": LUNG,
    "threshold": 0.5,
    "calibrated": True,
}


def write_film_bundle(folder: Path, *, rule: dict[str, Any] | None = None, **more: Any) -> Bundle:
    """Write the bundle and vouch for it; ``rule`` changes its input rule, ``more`` top-level keys of its manifest."""
    weights = save({"weight": _weight(), "bias": torch.zeros(1)})
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "models" / "model.safetensors").write_bytes(weights)
    entry = {
        "path": "models/model.safetensors",
        "network": "network_def",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    described = manifest(
        **{
            "labels": [],
            "scores": [SCORE],
            "title": "Phantom film reader",
            "inputs": [RULE | (rule or {})],
            "patient": {"age_years": {"min": 1, "max": 5}, "unknown_age": "reject"},
            "procedure": {"value": "399208008", "scheme": "SCT", "meaning": "Plain chest X-ray"},
            "weights": [entry],
            **more,
        },
    )
    channels = {"type": "image", "format": "magnitude", "num_channels": 1, "spatial_shape": [SIDE, SIDE]}
    metadata = {
        "version": "0.1.0",
        "monai_version": "1.6.1",
        "pytorch_version": "2.13.0",
        "numpy_version": "2.4.6",
        "task": "films",
        "network_data_format": {"inputs": {"image": channels}, "outputs": {"pred": channels}},
    }
    for name, content in (("metadata", metadata), ("inference", _INFERENCE), ("wetread", described)):
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return vouched(load_bundle(folder))


def _weight() -> torch.Tensor:
    """Heart minus its mirror image: on the phantom about 3.8 before the temperature."""
    weight = torch.zeros(1, 1, SIDE, SIDE)
    weight[..., 14:20, 15:22] = 0.2
    weight[..., 14:20, 6:13] = -0.2
    return weight
