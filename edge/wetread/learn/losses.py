"""Losses that MONAI and torch have only for other inputs."""

from __future__ import annotations

import torch
from monai.networks import one_hot
from torch import Tensor, nn


class ProbabilityError(nn.Module):
    """Mean squared error of probabilities (Brier score), from logits.

    ``classes``: logits ``(batch, class, …)`` that belong together against a label map ``(batch, 1, …)``; else one for
    each score, ``(batch, score)``, against targets of the same shape.
    """

    def __init__(self, classes: bool = False) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean."""
        if not self.classes:
            return (logits.sigmoid() - targets).square().mean()
        wanted = one_hot(torch.as_tensor(targets), num_classes=logits.shape[1])
        return (logits.softmax(1) - wanted).square().mean()
