"""A train config for a bundle that has none: from its inference config, for classifiers and segmentations."""

from __future__ import annotations

from typing import Any

from wetread.bundles import Bundle
from wetread.errors import Misconfigured
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.configs.tree import short_name

_NOT_FOR_TRAINING = ("LoadImage", "SaveImage", "Invert", "InMemory")


def generic_train_config(bundle: Bundle) -> dict[str, Any]:
    """Preprocessing of the inference config, random flips, turns and grey values, MONAI's trainer round its network.

    Raises: ``Misconfigured`` for a bundle with several networks, or whose preprocessing is no list of transforms.
    """
    manifest, inference = bundle.manifest, InferenceConfig(bundle)
    if len(manifest.weights) != 1 or manifest.boxes:
        raise Misconfigured(
            f"bundle {bundle.name} has no configs/train.json, and none can be made for it: it needs one"
        )
    key, network = manifest.runtime.input_key, manifest.runtime.network
    masks = bool(manifest.labels)
    keys = [key, "label"] if masks else [key]
    fixed = _preprocessing(bundle, inference, keys)
    scores = "pred"
    return {
        "imports": ["$import monai", "$import torch"],
        **{name: value for name, value in inference.config.items() if name == network},
        "device": "$torch.device('cpu')",
        "seed": 0,
        "epochs": 20,
        "batch_size": 2 if masks else 32,
        "learning_rate": 0.001,
        "weight_decay": 0.01,
        "network": f"$@{network}.to(@device)",
        "loss": _loss(masks),
        **_steps(),
        "train": _train([*fixed, *_random(key, keys, masks)]),
        "validate": _validate(fixed, masks, scores),
        "initialize": ["$monai.utils.set_determinism(@seed)"],
        "run": ["$@train::trainer.run()"],
    }


def _steps() -> dict[str, Any]:
    return {
        "optimizer": {
            "_target_": "torch.optim.AdamW",
            "params": "$[p for p in @network.parameters() if p.requires_grad]",
            "lr": "@learning_rate",
            "weight_decay": "@weight_decay",
        },
        "iterations": "$@epochs * len(@train::dataloader)",
        "lr_scheduler": {
            "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
            "optimizer": "@optimizer",
            "T_max": "@iterations",
        },
    }


def _preprocessing(bundle: Bundle, inference: InferenceConfig, keys: list[str]) -> list[Any]:
    """The inference config's transforms; those on the image's grid are applied to the mask as well."""
    given = inference.config.get("preprocessing", [])
    transforms = given.get("transforms", []) if isinstance(given, dict) else given
    if not isinstance(transforms, list) or not all(isinstance(t, dict) for t in transforms):
        raise Misconfigured(f"bundle {bundle.name} has no configs/train.json, and its preprocessing is no list")
    kept = []
    for transform in transforms:
        name = short_name(transform)
        if name.startswith(_NOT_FOR_TRAINING):
            if name.startswith(("LoadImage", "InMemory")) and transform.get("ensure_channel_first"):
                kept.append({"_target_": "EnsureChannelFirstd", "keys": keys})
            continue
        changed = dict(transform)
        if len(keys) > 1 and name.startswith(
            ("EnsureChannelFirst", "Orientation", "Spacing", "Resize", "CenterSpatial")
        ):
            changed["keys"] = keys
            if "mode" in changed or name.startswith(("Spacing", "Resize")):
                changed["mode"] = [changed.get("mode", "bilinear"), "nearest"]
        kept.append(changed)
    return kept


def _random(key: str, keys: list[str], masks: bool) -> list[Any]:
    if masks:
        grid: list[Any] = [
            {"_target_": "RandFlipd", "keys": keys, "prob": 0.5, "spatial_axis": 0},
            {
                "_target_": "RandAffined",
                "keys": keys,
                "prob": 0.5,
                "rotate_range": [0.2, 0.2, 0.2],
                "scale_range": [0.1, 0.1, 0.1],
                "mode": ["bilinear", "nearest"],
                "padding_mode": "border",
            },
        ]
    else:
        grid = [
            {"_target_": "RandRotated", "keys": key, "prob": 0.5, "range_x": 0.2, "padding_mode": "border"},
            {"_target_": "RandZoomd", "keys": key, "prob": 0.5, "min_zoom": 0.85, "max_zoom": 1.15},
        ]
    return [
        *grid,
        {"_target_": "RandAdjustContrastd", "keys": key, "prob": 0.3, "gamma": [0.7, 1.5]},
        {"_target_": "RandGaussianNoised", "keys": key, "prob": 0.3, "std": 0.03},
    ]


def _loss(masks: bool) -> dict[str, Any]:
    if masks:
        return {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True}
    return {"_target_": "torch.nn.BCEWithLogitsLoss"}


def _part(transforms: list[Any], *, shuffle: bool) -> dict[str, Any]:
    part = "train" if shuffle else "validate"
    return {
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "dataset": {
            "_target_": "CacheDataset",
            "data": [],
            "transform": f"@{part}::preprocessing",
            "progress": False,
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": f"@{part}::dataset",
            "batch_size": "@batch_size",
            "shuffle": shuffle,
            "num_workers": 0,
        },
    }


def _train(transforms: list[Any]) -> dict[str, Any]:
    return {
        **_part(transforms, shuffle=True),
        "inferer": {"_target_": "SimpleInferer"},
        "handlers": [
            {"_target_": "LrScheduleHandler", "lr_scheduler": "@lr_scheduler", "print_lr": False, "epoch_level": False},
            {"_target_": "ValidationHandler", "validator": "@validate::evaluator", "interval": 1, "epoch_level": True},
        ],
        "trainer": {
            "_target_": "SupervisedTrainer",
            "max_epochs": "@epochs",
            "device": "@device",
            "train_data_loader": "@train::dataloader",
            "network": "@network",
            "optimizer": "@optimizer",
            "loss_function": "@loss",
            "inferer": "@train::inferer",
            "train_handlers": "@train::handlers",
            "decollate": False,
        },
    }


def _validate(transforms: list[Any], masks: bool, scores: str) -> dict[str, Any]:
    chosen: list[Any] = [{"_target_": "Activationsd", "keys": scores, "sigmoid": True}]
    metric: dict[str, Any] = {
        "val_auroc": {
            "_target_": "monai.handlers.ROCAUC",
            "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
        }
    }
    if masks:
        chosen = [{"_target_": "AsDiscreted", "keys": scores, "argmax": True}]
        metric = {
            "val_dice": {
                "_target_": "monai.handlers.MeanDice",
                "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
            }
        }
    return {
        **_part(transforms, shuffle=False),
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": chosen},
        "key_metric": metric,
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@validate::dataloader",
            "network": "@network",
            "inferer": "@validate::inferer",
            "postprocessing": "@validate::postprocessing",
            "key_val_metric": "@validate::key_metric",
        },
    }
