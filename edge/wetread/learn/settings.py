"""What a person decides about one training; everything else is in the bundle's train config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wetread.errors import Misconfigured

Component = dict[str, Any]
"""A block of a MONAI config."""

LOSSES: dict[str, Component] = {
    "cross-entropy": {"_target_": "torch.nn.BCEWithLogitsLoss"},
    "focal": {"_target_": "FocalLoss", "gamma": 2.0},
    "dice": {"_target_": "DiceLoss", "sigmoid": True},
    "mse": {"_target_": "wetread.learn.losses.ProbabilityError"},
}
MASK_LOSSES: dict[str, Component] = {
    "cross-entropy": {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True, "lambda_dice": 0.0},
    "focal": {"_target_": "FocalLoss", "to_onehot_y": True, "use_softmax": True},
    "dice": {"_target_": "DiceLoss", "to_onehot_y": True, "softmax": True},
    "mse": {"_target_": "wetread.learn.losses.ProbabilityError", "classes": True},
}
"""Where the network answers with one channel for each value of a label map."""
OPTIMIZERS: dict[str, Component] = {
    "sgd": {"_target_": "torch.optim.SGD", "momentum": 0.9, "nesterov": True},
    "adam": {"_target_": "torch.optim.Adam"},
    "adamw": {"_target_": "torch.optim.AdamW"},
}
SCHEDULES: dict[str, Component] = {
    "constant": {"_target_": "torch.optim.lr_scheduler.ConstantLR", "factor": 1.0},
    "cosine": {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": "@iterations"},
    "one-cycle": {
        "_target_": "torch.optim.lr_scheduler.OneCycleLR",
        "max_lr": "@learning_rate",
        "total_steps": "@iterations",
        "pct_start": 0.2,
    },
    "step": {
        "_target_": "torch.optim.lr_scheduler.StepLR",
        "step_size": "$max(1, @iterations // 3)",
        "gamma": 0.1,
    },
}


_DECISIONS = (
    *("seed", "epochs", "batch_size", "learning_rate", "loss", "optimizer", "schedule", "patience"),
    *("start_from", "freeze", "unfreeze_after", "folds", "threads"),
)


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """One training. What is None stays as the bundle's train config has it."""

    data: Path
    out: Path
    """The new version goes into ``<out>/<name>``; while training, its state is in ``<out>/.<name>.training``."""
    seed: int = 0
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    loss: str | None = None
    optimizer: str | None = None
    schedule: str | None = None
    patience: int | None = None
    """Epochs without a better validation figure before training stops."""
    start_from: str | None = None
    """Bundle whose weights to begin with, as far as they fit."""
    freeze: str | None = None
    """Parameters whose name matches this regular expression stay as they are …"""
    unfreeze_after: int | None = None
    """… for so many epochs; None: to the end."""
    folds: int = 0
    """So many further trainings, each without one fold of the patients: figures and calibration from cases not seen."""
    unverified: bool = False
    """Take SEG and SR as references that no person vouched for."""
    resume: bool = False
    tensorboard: Path | None = None
    threads: int | None = None
    version: str | None = None
    """Of the new bundle; None: the next minor version."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further ids of the train config with plain values."""

    def decided(self) -> dict[str, Any]:
        """What was decided, without where things are: the same decisions with the same data give the same network."""
        given = {name: getattr(self, name) for name in _DECISIONS}
        return {name: value for name, value in given.items() if value is not None} | dict(self.more)


def plain_value(text: str) -> tuple[str, Any]:
    """``ID=VALUE`` of the command line: a number, a list, true, or a word; never code.

    Raises: ``Misconfigured``.
    """
    name, equals, given = text.partition("=")
    if not equals or not name:
        raise Misconfigured(f"--set {text}: expected ID=VALUE, e.g. --set weight_decay=0.05")
    try:
        value = json.loads(given)
    except ValueError:
        value = given
    if isinstance(value, str) and value.startswith(("$", "@", "%")):
        raise Misconfigured(f"--set {text}: only plain values are taken, no expression, no reference")
    return name, value
