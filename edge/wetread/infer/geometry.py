"""Our volumes ↔ MONAI's tensors: axis order and patient coordinate system change here and nowhere else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.utils.enums import MetaKeys, SpaceKeys

from wetread.bundles.manifest import LabelRule
from wetread.errors import OutputInvalid
from wetread.records.volume import Affine, LabelMap, Volume

_REVERSED_AXES = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_AFFINE_TOLERANCE = 1e-4
"""mm; Orientationd and its inverse are exact up to rounding."""


def to_meta_tensor(volume: Volume) -> MetaTensor:
    """The volume as MONAI's readers give it: float32 ``(column, row, slice)`` without a channel, affine to RAS mm."""
    array = torch.from_numpy(np.array(volume.array.transpose(2, 1, 0), np.float32, order="C"))
    affine = torch.from_numpy(monai_affine(volume.affine))
    meta = {
        MetaKeys.AFFINE: affine,
        MetaKeys.ORIGINAL_AFFINE: affine.clone(),
        MetaKeys.SPATIAL_SHAPE: np.array(array.shape),
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
        MetaKeys.SPACE: SpaceKeys.RAS,
        "filename_or_obj": volume.series.series_instance_uid,
    }
    return MetaTensor(array, meta=meta)


def monai_affine(affine: Affine) -> Affine:
    """Indices ``(column, row, slice)`` → RAS mm, from our ``(slice, row, column)`` → LPS mm."""
    return np.asarray(_LPS_TO_RAS @ affine @ _REVERSED_AXES)


def to_label_map(prediction: torch.Tensor, volume: Volume, labels: tuple[LabelRule, ...]) -> LabelMap:
    """What postprocessing gave, as a label map on the grid of ``volume``.

    ``prediction``: ``(1, column, row, slice)``, any number type.
    Raises: ``OutputInvalid`` when it is not on the source grid, not finite, not integer, holds a value the bundle does
    not declare, or lacks one that it requires.
    """
    _check_grid(prediction, volume)
    array = prediction.detach().cpu().numpy()[0].transpose(2, 1, 0)
    _check_values(array, labels)
    return LabelMap(np.ascontiguousarray(array, np.uint8), volume.affine)


def _check_grid(prediction: torch.Tensor, volume: Volume) -> None:
    expected = (1, *reversed(volume.array.shape))
    if tuple(prediction.shape) != expected:
        raise OutputInvalid(
            f"the bundle's answer has the shape {tuple(prediction.shape)}, expected one label channel on the source "
            f"grid, {expected}: postprocessing must end in a label map and invert what preprocessing did to the grid"
        )
    if isinstance(prediction, MetaTensor):
        difference = float(np.abs(prediction.affine.cpu().numpy() - monai_affine(volume.affine)).max())
        if not difference <= _AFFINE_TOLERANCE:
            raise OutputInvalid(
                f"the bundle's answer lies elsewhere: its affine is up to {difference:g} off the source's"
            )


def _check_values(array: npt.NDArray[np.generic], labels: tuple[LabelRule, ...]) -> None:
    if not np.isfinite(array).all():
        raise OutputInvalid("the bundle's answer holds values that are not finite")
    found = set(np.unique(array).tolist())
    declared = {0, *(label.value for label in labels)}
    if not found <= declared:
        unknown = ", ".join(f"{v:g}" for v in sorted(found - declared)[:5])
        raise OutputInvalid(f"the bundle's answer holds {unknown}; declared are {sorted(declared)}")
    for label in labels:
        if label.required and label.value not in found:
            raise OutputInvalid(
                f"no {label.name.lower()} found: label {label.value} is empty, and this bundle requires it"
            )
