"""Our volumes ↔ MONAI's tensors: axis order and patient coordinate system change here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.utils.enums import MetaKeys, SpaceKeys

from wetread.bundles.manifest import LabelRule
from wetread.errors import OutputInvalid
from wetread.records.radiograph import Radiograph
from wetread.records.volume import Affine, LabelMap, Volume

_REVERSED_AXES = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_AFFINE_TOLERANCE = 1e-4
"""mm; Orientationd and its inverse are exact up to rounding."""
_NOT_WHOLE = (
    ": labels are whole numbers; a bundle that interpolates after choosing labels (Invertd after AsDiscreted without "
    "nearest_interp) gives numbers between them"
)


def to_meta_tensor(volume: Volume) -> MetaTensor:
    """The volume as MONAI's readers give it: float32 ``(column, row, slice)`` without a channel, affine to RAS mm."""
    array = torch.from_numpy(_reversed_axes(volume.array)).to(torch.float32)
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


def film_to_meta_tensor(film: Radiograph) -> MetaTensor:
    """The film as ``(1, row, column)``: it has its channel already, and ``EnsureChannelFirstd`` leaves it alone.

    The affine has the spacing of rows and columns in mm, 1 where the film does not say it, and no place in the patient.
    """
    row_mm, column_mm = film.spacing_mm or (1.0, 1.0)
    affine = torch.diag(torch.tensor([row_mm, column_mm, 1.0, 1.0], dtype=torch.float64))
    meta = {
        MetaKeys.AFFINE: affine,
        MetaKeys.ORIGINAL_AFFINE: affine.clone(),
        MetaKeys.SPATIAL_SHAPE: np.array(film.array.shape),
        MetaKeys.ORIGINAL_CHANNEL_DIM: 0,
        "filename_or_obj": film.instance.sop_instance_uid,
    }
    return MetaTensor(torch.from_numpy(film.array)[None].clone(), meta=meta)


def _reversed_axes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy of ``(i, j, k)`` as ``(k, j, i)``, in that order in memory.

    Plane by plane of the middle axis, which fits into the cache: all at once takes twice as long.
    """
    reversed_axes = np.empty(array.shape[::-1], array.dtype)
    for middle in range(array.shape[1]):
        reversed_axes[:, middle] = array[:, middle].T
    return reversed_axes


def monai_affine(affine: Affine) -> Affine:
    """Indices ``(column, row, slice)`` → RAS mm, from our ``(slice, row, column)`` → LPS mm."""
    return np.asarray(_LPS_TO_RAS @ affine @ _REVERSED_AXES)


def stack(volumes: Sequence[Volume]) -> MetaTensor:
    """Several volumes on one grid as the channels of one image, ``(channel, column, row, slice)``.

    As MONAI's readers give a list of files. Whether they lie on one grid is the guard's business.
    """
    tensors = [to_meta_tensor(volume) for volume in volumes]
    meta = {**tensors[0].meta, MetaKeys.ORIGINAL_CHANNEL_DIM: 0}
    return MetaTensor(torch.stack([tensor.as_tensor() for tensor in tensors]), meta=meta)


def to_label_map(
    prediction: torch.Tensor, volume: Volume, labels: tuple[LabelRule, ...], *, ignored: tuple[int, ...] = ()
) -> LabelMap:
    """What postprocessing gave, as a label map on the grid of ``volume``.

    ``prediction``: ``(1, column, row, slice)``, any number type, with the values that the bundle writes; the label map
    has those of the manifest, and 0 where the bundle writes one of ``ignored``.
    Raises: ``OutputInvalid`` when it is not on the source grid, not finite, not integer, holds a value the bundle does
    not declare, is one structure from border to border, or lacks one that it requires.
    """
    check_grid(prediction, volume, channels=1)
    found = _whole(torch.as_tensor(prediction).detach().cpu().as_subclass(torch.Tensor)[0], labels, ignored)
    counts = _counts(found.numpy())
    _check_declared(counts, labels, ignored)
    _check_presence(counts, labels)
    values = _values(labels, ignored)
    array = _reversed_axes(found.numpy())
    same = np.array_equal(values[counts > 0], np.flatnonzero(counts))
    return LabelMap(array if same else values[array], volume.affine)


def check_grid(prediction: torch.Tensor, volume: Volume, *, channels: int) -> None:
    """Raises: ``OutputInvalid`` when the prediction has other channels or lies elsewhere than ``volume``."""
    expected = (channels, *reversed(volume.array.shape))
    if tuple(prediction.shape) != expected:
        what = "one label channel" if channels == 1 else f"{channels} masks"
        raise OutputInvalid(
            f"the bundle's answer has the shape {tuple(prediction.shape)}, expected {what} on the source "
            f"grid, {expected}: postprocessing must end in {what} and invert what preprocessing did to the grid"
        )
    if isinstance(prediction, MetaTensor):
        difference = float(np.abs(prediction.affine.cpu().numpy() - monai_affine(volume.affine)).max())
        if not difference <= _AFFINE_TOLERANCE:
            raise OutputInvalid(
                f"the bundle's answer lies elsewhere: its affine is up to {difference:g} off the source's"
            )


def _whole(found: torch.Tensor, labels: tuple[LabelRule, ...], ignored: tuple[int, ...]) -> torch.Tensor:
    """The values as uint8. Raises: ``OutputInvalid`` for values that are not finite, not whole or beyond 0 to 255."""
    if found.dtype is torch.uint8:
        return found
    array = found.numpy()
    if not np.isfinite(array).all():
        raise OutputInvalid("the bundle's answer holds values that are not finite")
    with np.errstate(invalid="ignore"):  # a value beyond uint8 is caught by the comparison
        whole = array.astype(np.uint8)
    wrong = whole != array
    if wrong.any():
        raise OutputInvalid(_undeclared(np.unique(array[wrong][:100_000]), _declared(labels, ignored)))
    return torch.from_numpy(whole)


def _counts(found: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Voxels by value, 256 of them. A single label is counted without widening every voxel to eight bytes."""
    if not found.size or int(found.max()) > 1:
        return np.bincount(found.ravel(), minlength=256)
    labelled = int(np.count_nonzero(found))
    counts = np.zeros(256, np.int64)
    counts[:2] = found.size - labelled, labelled
    return counts


def _check_declared(counts: npt.NDArray[np.int64], labels: tuple[LabelRule, ...], ignored: tuple[int, ...]) -> None:
    """Raises: ``OutputInvalid`` for voxels of a value that the bundle does not declare."""
    declared = _declared(labels, ignored)
    wrong = [value for value in np.flatnonzero(counts).tolist() if value not in declared]
    if wrong:
        raise OutputInvalid(_undeclared(np.array(wrong), declared))


def _declared(labels: tuple[LabelRule, ...], ignored: tuple[int, ...]) -> list[int]:
    """What the bundle may write."""
    return sorted({0, *(_bundle_value(label) for label in labels), *ignored})


def _undeclared(values: npt.NDArray[np.generic], declared: list[int]) -> str:
    between = np.abs(values.astype(float) - np.round(values.astype(float)))
    shown = ", ".join(f"{v:g}" for v in values[np.argsort(-between, kind="stable")][:5].tolist())
    return f"the bundle's answer holds {shown}; declared are {declared}{_NOT_WHOLE if between.any() else ''}"


def _bundle_value(label: LabelRule) -> int:
    return label.value if label.bundle_value is None else label.bundle_value


def _values(labels: tuple[LabelRule, ...], ignored: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The manifest's value for each value that the bundle writes."""
    values = np.zeros(256, np.uint8)
    for label in labels:
        values[_bundle_value(label)] = label.value
    values[list(ignored)] = 0
    return values


def _check_presence(counts: npt.NDArray[np.int64], labels: tuple[LabelRule, ...]) -> None:
    """``counts``: voxels by the value that the bundle writes."""
    for label in labels:
        if counts[_bundle_value(label)] == counts.sum():
            raise OutputInvalid(
                f"{label.name} fills the whole image: the model did not see what it was made for", of_these_images=True
            )
    for label in labels:
        if label.required and not counts[_bundle_value(label)]:
            raise OutputInvalid(
                f"no {label.name.lower()} found: label {label.value} is empty, and this bundle requires it",
                of_these_images=True,
            )
