"""Cases as MONAI's datasets take them: what a bundle's train config calls, and what our own runner hands it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.utils.enums import MetaKeys

from wetread.errors import DataUnusable
from wetread.infer.geometry import monai_affine
from wetread.learn.cases import Case, Cases, Part
from wetread.learn.npz import read_npz


def datalist(path: str | Path, part: Part, scores: int = 1) -> list[dict[str, Any]]:
    """For ``python -m monai.bundle run``: one part of a NumPy archive. Raises: ``DataUnusable``."""
    parts = read_npz(Path(path), scores=scores)
    if part not in parts:
        raise DataUnusable(f"{path} has no {part}_images, it has {', '.join(f'{name}_images' for name in parts)}")
    return as_dictionaries(parts[part])


def as_dictionaries(cases: Iterable[Case], *, key: str = "image") -> list[dict[str, Any]]:
    """Data dictionaries, as a read hands them to the bundle: images with their channel under ``key``.

    ``label`` is a tensor ``(score,)`` of 0 and 1, or the mask on the grid of the image.
    """
    return [{key: image_tensor(case), "label": _label(case)} for case in cases]


def image_tensor(case: Case) -> MetaTensor:
    """``(1, row, column)`` of a film; ``(column, row, slice)`` of a volume, as MONAI's readers give it.

    A volume has its affine, to RAS mm: transforms that turn it or resample it do in training what they do in a read.
    """
    if case.image.ndim == 2:
        image = torch.from_numpy(np.ascontiguousarray(case.image[None]))
        return MetaTensor(image, meta={MetaKeys.ORIGINAL_CHANNEL_DIM: 0})
    return _volume_tensor(case.image, case)


def _label(case: Case) -> torch.Tensor:
    if case.mask is None:
        return torch.tensor(case.targets, dtype=torch.float32)
    return _volume_tensor(case.mask, case)


def _volume_tensor(array: npt.NDArray[np.generic], case: Case) -> MetaTensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 1, 0)))
    affine = None if case.affine is None else torch.from_numpy(monai_affine(case.affine))
    return MetaTensor(tensor, affine=affine, meta={MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan")})


def one_part(parts: dict[Part, Cases], preferred: tuple[Part, ...]) -> tuple[Part, Cases]:
    """The first of the preferred parts that is there. Raises: ``DataUnusable``."""
    for part in preferred:
        if part in parts:
            return part, parts[part]
    raise DataUnusable(f"there is none of the parts {', '.join(preferred)}, only {', '.join(parts)}")
