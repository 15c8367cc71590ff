"""In which shape a bundle will ask its networks: what can be compiled, loaded and tried before a study is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

from monai.utils import PytorchPadMode

from wetread.errors import BundleInvalid
from wetread.infer.configs.config import InferenceConfig

Shape = tuple[int, ...]


def asked_shape(config: InferenceConfig, image: Shape, network: str) -> tuple[Shape, bool]:
    """The inferer's window, a cascade's grid, else ``image``, what the metadata says; and whether it is always that.

    ``image``: ``(batch, channel, *spatial)``. Raises: ``BundleInvalid`` for a window that is none.
    """
    inferer = config.config.get("inferer")
    for key in ("roi_size", "fine_shape") if network == config.runtime.network else ("box_shape",):
        if not isinstance(inferer, dict) or key not in inferer:
            continue
        window = config.resolved(config.parser(), f"inferer::{key}")
        check_window(window, f"{config.path}: inferer::{key}")
        if isinstance(window, Sequence) and len(window) == len(image) - 2:
            # A side that is not positive means the whole image.
            sides = tuple(int(w) if w and w > 0 else i for w, i in zip(window, image[2:], strict=True))
            return (*image[:2], *sides), all(w and w > 0 for w in window)
    return image, False


def check_sliding(inferer: Any, where: str) -> None:
    """Numbers of a sliding window that MONAI takes as they are and stumbles over with the first image.

    ``where``: file and id, for the sentence. Raises: ``BundleInvalid``.
    """
    check_window(inferer.roi_size, f"{where}::roi_size")
    batch = inferer.sw_batch_size
    if not _whole(batch) or batch < 1:
        raise BundleInvalid(f"{where}::sw_batch_size is {batch!r}, expected a whole number from 1")
    _check_axes(inferer, where)
    overlaps = _several(inferer.overlap)
    if not overlaps or not all(_number(share) and 0 <= share < 1 for share in overlaps):
        raise BundleInvalid(f"{where}::overlap is {inferer.overlap!r}, expected a share from 0 to below 1")
    sigmas = _several(inferer.sigma_scale)
    if not sigmas or not all(_number(scale) and scale > 0 for scale in sigmas):
        raise BundleInvalid(f"{where}::sigma_scale is {inferer.sigma_scale!r}, expected a number above 0")
    modes = [str(mode.value) for mode in PytorchPadMode]
    if str(inferer.padding_mode) not in modes:
        raise BundleInvalid(f"{where}::padding_mode is {inferer.padding_mode!r}, expected {' or '.join(modes)}")
    if not _number(inferer.cval):
        raise BundleInvalid(f"{where}::cval is {inferer.cval!r}, expected a number")


def check_window(window: object, where: str) -> None:
    """A side for each axis, or one for all; none, 0 or less is the whole image. Raises: ``BundleInvalid``."""
    sides = _several(window)
    if len(sides) not in (1, 2, 3) or not all(side is None or _whole(side) for side in sides):
        raise BundleInvalid(f"{where} is {window!r}, expected whole numbers of voxels, one for each axis")


def _check_axes(inferer: Any, where: str) -> None:
    """Raises: ``BundleInvalid`` when the window has other axes than its overlap or its weights."""
    if not isinstance(inferer.roi_size, Sequence):
        return
    for key in ("overlap", "sigma_scale"):
        value = getattr(inferer, key)
        if isinstance(value, Sequence) and len(value) != len(inferer.roi_size):
            raise BundleInvalid(f"{where}::{key} is {value!r}, expected one number, or one for each side of roi_size")


def _several(value: object) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
