"""Films changed at random, a whole batch at a time: what a radiograph may look like elsewhere and still be the same.

MONAI's random transforms change one image after the other in NumPy; for small images a batch of tensors is some hundred
times faster. Randomness is torch's own, so ``torch.manual_seed`` decides all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_CURVE_STEPS = 5
_FREQUENCIES = ("flip", "curve", "cover")
_KERNEL = torch.tensor([1.0, 2.0, 1.0])


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much is changed; every number is the most that happens, each change is drawn for each image.

    A call takes images ``(batch, 1, row, column)``, 0 to 1, and gives others of the same shape and range.
    """

    rotation_degrees: float = 14.0
    zoom: float = 0.2
    stretch: float = 0.15
    """Relative, of width against height."""
    shear: float = 0.12
    shift: float = 0.075
    """Of the image's side."""
    flip: float = 0.5
    """How often left and right are exchanged."""
    elastic: float = 0.035
    """Of half the image's side, between knots of a 5 × 5 grid."""
    gamma: float = 0.7
    """Natural logarithm."""
    contrast: float = 0.5
    """Natural logarithm."""
    brightness: float = 0.2
    curve: float = 0.4
    """How often grey values pass a random rising curve: another detector, another processing."""
    bias: float = 0.08
    """Standard deviation of a smooth additive field."""
    sharpness: float = 1.0
    """1: from fully blurred by a 3 × 3 binomial to sharpened as much."""
    noise: float = 0.06
    cover: float = 0.4
    """How often a grey rectangle covers something, as labels and devices do."""

    def scaled(self, strength: float) -> Augmentation:
        """All that has a size ``strength`` times as much; what happens or not is as frequent as before."""
        sizes = {f.name: getattr(self, f.name) * strength for f in fields(self) if f.name not in _FREQUENCIES}
        return replace(self, **sizes)

    def __call__(self, images: Tensor) -> Tensor:
        return self._spoiled(self._moved(self._exposed(images)))

    def _exposed(self, images: Tensor) -> Tensor:
        """Grey values: exposure, window, detector curve, uneven field."""
        batch, _, rows, columns = images.shape
        gamma = _between(batch, self.gamma).exp()
        images = torch.where(_some(batch, 0.6), images.clamp(1e-4, 1.0) ** gamma, images)
        mean = images.mean((2, 3), keepdim=True)
        exposed = (images - mean) * _between(batch, self.contrast).exp() + mean + _between(batch, self.brightness)
        images = torch.where(_some(batch, 0.6), exposed.clamp(0, 1), images)
        images = torch.where(_some(batch, self.curve), _curved(images), images)
        field = functional.interpolate(
            torch.randn(batch, 1, 3, 3) * self.bias, (rows, columns), mode="bicubic", align_corners=True
        )
        return torch.where(_some(batch, 0.3), (images + field).clamp(0, 1), images)

    def _moved(self, images: Tensor) -> Tensor:
        """Position, size and shape of the chest."""
        batch, _, rows, columns = images.shape
        angle = _between(batch, torch.pi * self.rotation_degrees / 180).flatten()
        zoom, stretch = _between(batch, self.zoom).exp().flatten(), _between(batch, self.stretch).exp().flatten()
        shear, right, down = (_between(batch, most).flatten() for most in (self.shear, 2 * self.shift, 2 * self.shift))
        mirrored = 1.0 - 2.0 * _some(batch, self.flip).flatten().float()
        first = torch.stack([angle.cos() * zoom * stretch * mirrored, -angle.sin() * zoom + shear, right], 1)
        second = torch.stack([angle.sin() * zoom * mirrored, angle.cos() * zoom / stretch, down], 1)
        grid = functional.affine_grid(torch.stack([first, second], 1), [batch, 1, rows, columns], align_corners=False)
        bent = functional.interpolate(
            torch.randn(batch, 2, 5, 5) * self.elastic, (rows, columns), mode="bicubic", align_corners=True
        )
        grid = grid + bent.permute(0, 2, 3, 1)
        return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _spoiled(self, images: Tensor) -> Tensor:
        """Sharpness, noise, something in front."""
        batch, _, rows, columns = images.shape
        kernel = (_KERNEL[:, None] * _KERNEL[None] / 16).view(1, 1, 3, 3)
        blurred = functional.conv2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), kernel)
        amount = _between(batch, self.sharpness)
        images = torch.where(_some(batch, 0.5), (images + amount * (blurred - images)).clamp(0, 1), images)
        strength = torch.rand(batch, 1, 1, 1) * self.noise
        images = torch.where(_some(batch, 0.4), (images + torch.randn_like(images) * strength).clamp(0, 1), images)
        inside = _stripe(batch, rows)[:, None, :, None] & _stripe(batch, columns)[:, None, None, :]
        return torch.where(inside & _some(batch, self.cover), torch.rand(batch, 1, 1, 1), images)


@dataclass(frozen=True, slots=True)
class AugmentedBatch:
    """MONAI's ``prepare_batch``: a batch of the data loader, changed, as images and targets for the loss.

    ``smoothing``: targets are moved towards 0.5 by this share. ``mixup``: how alike the two images are that are mixed
    in half of the batches (Zhang et al. 2018, alpha of the beta distribution); 0: none are.
    """

    augmentation: Augmentation | None = None
    smoothing: float = 0.0
    mixup: float = 0.0
    image_key: str = "image"
    label_key: str = "label"

    def __call__(
        self, batch: Mapping[str, Any], device: Any = None, non_blocking: bool = False, **_more: Any
    ) -> tuple[Tensor, Tensor]:
        """``(batch, 1, row, column)`` and ``(batch, score)``."""
        images, targets = (torch.as_tensor(batch[key]).as_subclass(Tensor) for key in (self.image_key, self.label_key))
        targets = targets.float() * (1 - self.smoothing) + self.smoothing / 2
        if self.augmentation is not None:
            images = self.augmentation(images)
        if self.mixup and bool(torch.rand(()) < 0.5):
            images, targets = self._mixed(images, targets)
        return images.to(device, non_blocking=non_blocking), targets.to(device, non_blocking=non_blocking)

    def _mixed(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        # A beta variable from two gamma variables: torch.distributions.Beta draws from torch's generator.
        share = torch.distributions.Beta(self.mixup, self.mixup).sample()
        order = torch.randperm(len(images))
        return share * images + (1 - share) * images[order], share * targets + (1 - share) * targets[order]


def _some(batch: int, often: float) -> Tensor:
    """Which images are changed, ``(batch, 1, 1, 1)``."""
    return (torch.rand(batch) < often).view(batch, 1, 1, 1)


def _between(batch: int, most: float) -> Tensor:
    """From ``-most`` to ``most``, ``(batch, 1, 1, 1)``."""
    return ((torch.rand(batch) * 2 - 1) * most).view(batch, 1, 1, 1)


def _curved(images: Tensor) -> Tensor:
    """Every image through a rising curve of its own, straight between its knots, from 0 to 1."""
    batch, _, rows, columns = images.shape
    steps = (torch.rand(batch, _CURVE_STEPS) + 0.4).cumsum(1)
    knots = functional.pad(steps / steps[:, -1:], (1, 0))
    place = (images * _CURVE_STEPS).clamp(0, _CURVE_STEPS - 1e-4)
    below = place.long()
    low, high = (knots.gather(1, (below + up).view(batch, -1)).view(batch, 1, rows, columns) for up in (0, 1))
    return low + (place - below) * (high - low)


def _stripe(batch: int, side: int) -> Tensor:
    """Some neighbouring rows or columns of each image, a tenth to a third of them, ``(batch, side)``."""
    width = torch.rand(batch, 1) * 0.23 * side + 0.1 * side
    middle = torch.rand(batch, 1) * side
    return (torch.arange(side)[None] - middle).abs() < width / 2
