"""Whether an answer lies where its image lies."""

from __future__ import annotations

import numpy as np

from wetread.errors import OutputInvalid
from wetread.records.volume import Affine, Volume

_SAME_PLACE_MM = 1e-3


def check_grid(what: str, shape: tuple[int, ...], affine: Affine, volume: Volume) -> None:
    """Raises: ``OutputInvalid`` unless ``shape`` (slice, row, column) and ``affine`` are those of ``volume``."""
    if shape != volume.array.shape:
        raise OutputInvalid(f"the {what} has {shape} voxels (slice, row, column), its image has {volume.array.shape}")
    check_place(what, affine, volume)


def check_place(what: str, affine: Affine, volume: Volume) -> None:
    """Raises: ``OutputInvalid`` unless ``affine`` is that of ``volume``."""
    if not np.allclose(affine, volume.affine, atol=_SAME_PLACE_MM):
        raise OutputInvalid(f"the {what} lies elsewhere in the patient than its image: the affines differ")
