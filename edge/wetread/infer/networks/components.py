"""Connected components of a mask."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy import ndimage

Mask = npt.NDArray[np.bool_]


def largest_component(mask: Mask) -> Mask:
    """The largest 26-connected component of a 3-D mask; an empty mask stays empty."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if count <= 1:
        return mask
    return np.asarray(labels == np.bincount(labels[mask]).argmax())


def without_holes(mask: Mask) -> Mask:
    """The mask with every cavity filled that has no 6-connected way out of the volume.

    By labelling the background once: scipy's ``binary_fill_holes`` dilates step by step and takes minutes at 256³.
    """
    background, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    outside = background[0, 0, 0]
    return np.asarray(background != outside)[1:-1, 1:-1, 1:-1]


class SolidComponentd(MapTransform):
    """MONAI transform: a probability map ``(1, i, j, k)`` becomes a uint8 label map with one solid component of 1.

    Voxels above ``threshold``, of these the largest 26-connected component, with its holes filled.
    """

    def __init__(self, keys: KeysCollection, *, threshold: float = 0.5, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Replace the tensors under the keys; their affine and history are kept."""
        result = dict(data)
        for key in self.key_iterator(result):
            probability = result[key]
            mask = torch.as_tensor(_solid((probability[0] > self.threshold).cpu().numpy()))[None]
            label_map = mask.to(torch.uint8)
            result[key] = (
                MetaTensor(label_map, meta=probability.meta, applied_operations=probability.applied_operations)
                if isinstance(probability, MetaTensor)
                else label_map
            )
        return result


def _solid(mask: Mask) -> Mask:
    if not mask.any():
        return mask
    box = box_of(mask)
    solid = np.zeros_like(mask)
    solid[box] = without_holes(largest_component(mask[box]))
    return solid


def box_of(mask: Mask) -> tuple[slice, ...]:
    """The smallest box that holds a mask that is not empty."""
    planes = [np.flatnonzero(mask.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return tuple(slice(p[0], p[-1] + 1) for p in planes)
