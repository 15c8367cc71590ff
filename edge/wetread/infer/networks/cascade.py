"""Two networks in a row: a box network finds the organ on a coarse grid, a fine network segments it inside the box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers.inferer import Inferer
from monai.utils import convert_to_dst_type
from torch import Tensor
from torch.nn import functional

from wetread.errors import ImageUnusable, OutputInvalid
from wetread.infer.networks.components import largest_component

Box = tuple[slice, slice, slice]
Network = Callable[[Tensor], Tensor]
"""``(1, 1, i, j, k)`` → ``(1, 2, i, j, k)``: probabilities of background and foreground."""

TRAINED_MEAN, TRAINED_DEVIATION = 0.449, 0.226
"""Mean grey value and deviation the networks were trained with."""


class CascadeInferer(Inferer):
    """MONAI inferer that asks ``box_network`` where to look and then ``network`` what is there.

    The scheme of deepbet 1.0.2 (Fisch et al. 2024, doi 10.1016/j.compbiomed.2024.108845): every resize is
    *nearest-exact*, both networks see intensities clipped at the same two quantiles of the whole coarse image, and the
    box is that of the largest 26-connected component, enlarged by ``box_margin`` of its size on every side. The
    orientation of the input matters (RAS): bring it there in preprocessing.
    """

    def __init__(
        self,
        box_network: Network,
        *,
        box_shape: Sequence[int] = (128, 128, 128),
        fine_shape: Sequence[int] = (256, 256, 256),
        box_margin: float = 0.1,
        quantiles: tuple[float, float] = (0.005, 0.995),
    ) -> None:
        self.box_network = box_network
        self.box_shape = tuple(box_shape)
        self.fine_shape = tuple(fine_shape)
        self.box_margin = box_margin
        self.quantiles = quantiles

    def __call__(self, inputs: Tensor, network: Network, *_args: object, **_kwargs: object) -> Tensor:
        """Probability of foreground, ``(1, 1, i, j, k)`` on the grid of ``inputs``; 0 outside the box.

        Raises: ``ImageUnusable`` for an image without contrast, ``OutputInvalid`` when the box network finds nothing.
        """
        image = torch.as_tensor(inputs).as_subclass(Tensor)
        if image.ndim != 5 or image.shape[:2] != (1, 1):
            raise ValueError(f"the cascade takes one volume of shape (1, 1, i, j, k), got {tuple(image.shape)}")
        coarse = _finite(_resized(image, self.box_shape))
        window = self.window(coarse)
        box = self._box(_foreground(self.box_network, _normalised(coarse, window, self.box_shape)), image.shape[2:])
        del coarse
        inside = _finite(image[(..., *box)])
        fine = _foreground(network, _normalised(inside, window, self.fine_shape))
        probability = torch.zeros_like(image)
        probability[(..., *box)] = _resized(fine, inside.shape[2:])
        # Evaluator and saver find affine and file name here, as they do with MONAI's own sliding window.
        return convert_to_dst_type(probability, inputs)[0]

    def window(self, coarse: Tensor) -> tuple[float, float]:
        """Intensities between which both networks see the image. Raises: ``ImageUnusable`` for one without contrast."""
        low, high = quantiles(coarse, self.quantiles)
        if not high > low:
            raise ImageUnusable(
                f"the image has no contrast: {self.quantiles[0]:.1%} and {self.quantiles[1]:.1%} of its values are "
                f"at most {low:g}"
            )
        return low, high

    def _box(self, foreground: Tensor, shape: Sequence[int]) -> Box:
        mask = largest_component((foreground[0, 0] > 0.5).cpu().numpy())
        return box_with_margin(mask, shape, margin=self.box_margin)


def box_with_margin(
    mask: npt.NDArray[np.bool_], shape: Sequence[int], *, margin: float, min_share: float = 0.02
) -> Box:
    """The box round ``mask``, carried over to a grid of ``shape`` voxels, with ``margin`` of its size on every side.

    A plane of the mask counts when more than ``min_share`` of it is set, so that a thin spur does not widen the box.
    Computed in float32 and rounded half to even, like the reference: a border one voxel off would shift the whole fine
    grid.
    Raises: ``OutputInvalid`` when no plane counts.
    """
    planes = [np.flatnonzero(mask.mean(axis=others) > min_share) for others in ((1, 2), (0, 2), (0, 1))]
    if any(p.size == 0 for p in planes):
        raise OutputInvalid(
            "no brain found: the box network marks no region of sufficient size; expected a head that fills "
            "a good part of the volume",
            of_these_images=True,
        )
    scale = (np.array(shape) / np.array(mask.shape)).astype(np.float32)
    centre = np.array([(p.max() + 1 + p.min()) / 2 for p in planes], np.float32) * scale
    size = np.array([p.max() + 1 - p.min() for p in planes], np.float32) * scale * np.float32(1 + 2 * margin)
    centre, size = np.rint(centre), np.rint(size)
    first, second, third = (
        slice(max(0, int(c - s / 2)), min(n, int(c + s / 2))) for c, s, n in zip(centre, size, shape, strict=True)
    )
    return first, second, third


def quantiles(values: Tensor, shares: Sequence[float]) -> list[float]:
    """The numbers of ``torch.quantile``, which sorts much more slowly than numpy does."""
    ordered = torch.from_numpy(np.sort(values.cpu().numpy(), axis=None))
    place = torch.tensor(shares) * (len(ordered) - 1)
    below = place.long()
    found = ordered[below].lerp(ordered[place.ceil().long()], place - below)
    return [float(value) for value in found]


def _finite(image: Tensor) -> Tensor:
    """A copy with numbers only."""
    return torch.nan_to_num(image)


def _resized(image: Tensor, shape: Sequence[int]) -> Tensor:
    return functional.interpolate(image, tuple(shape), mode="nearest-exact")


def _normalised(image: Tensor, window: tuple[float, float], shape: Sequence[int]) -> Tensor:
    """``image`` at ``shape``, scaled so that there its mean and deviation are those of the training; may be changed.

    Enlarging repeats voxels, so the arithmetic comes before and counts how often: it is done on the fewer voxels.
    """
    image = _resized(image, [min(n, wanted) for n, wanted in zip(image.shape[2:], shape, strict=True)])
    low, high = window
    image.sub_(low).div_(high - low).clamp_(min=0, max=1)
    times = [_times_repeated(n, wanted) for n, wanted in zip(image.shape[2:], shape, strict=True)]
    mean = _sum(image, times) / prod(shape)
    image.sub_(mean)
    deviation = (_sum(image.square(), times) / (prod(shape) - 1)) ** 0.5
    image.div_(deviation).mul_(TRAINED_DEVIATION).add_(TRAINED_MEAN)
    return _resized(image, shape)


def _times_repeated(size: int, wanted: int) -> Tensor:
    """How often each of ``size`` voxels is picked when an axis is enlarged to ``wanted``.

    Asked in the type of the image: PyTorch rounds the places of float64 numbers otherwise.
    """
    picked = _resized(torch.arange(size, dtype=torch.float32).reshape(1, 1, size, 1, 1), (wanted, 1, 1))
    return torch.bincount(picked.flatten().long(), minlength=size)


def _sum(image: Tensor, times: Sequence[Tensor]) -> float:
    """Of ``(1, 1, i, j, k)``, each voxel as often as the product of its axes' ``times`` says."""
    first, second, third = (along.to(image) for along in times)
    return float(((image[0, 0] @ third) @ second).double() @ first.double())


def _foreground(network: Network, image: Tensor) -> Tensor:
    return network(image)[:, 1:2]
