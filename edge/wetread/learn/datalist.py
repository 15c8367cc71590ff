"""Cases as MONAI's datasets take them: what a bundle's train config calls, and what our own runner hands it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils.enums import MetaKeys

from wetread.errors import DataUnusable
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
    """``(1, row, column)`` of a film; ``(column, row, slice)`` of a volume, as MONAI's readers give it."""
    array = np.ascontiguousarray(case.image[None] if case.image.ndim == 2 else case.image.transpose(2, 1, 0))
    channel = 0 if case.image.ndim == 2 else float("nan")
    return MetaTensor(torch.from_numpy(array), meta={MetaKeys.ORIGINAL_CHANNEL_DIM: channel})


def _label(case: Case) -> torch.Tensor:
    if case.mask is None:
        return torch.tensor(case.targets, dtype=torch.float32)
    return MetaTensor(
        torch.from_numpy(np.ascontiguousarray(case.mask.transpose(2, 1, 0))),
        meta={MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan")},
    )


def one_part(parts: dict[Part, Cases], preferred: tuple[Part, ...]) -> tuple[Part, Cases]:
    """The first of the preferred parts that is there. Raises: ``DataUnusable``."""
    for part in preferred:
        if part in parts:
            return part, parts[part]
    raise DataUnusable(f"there is none of the parts {', '.join(preferred)}, only {', '.join(parts)}")
