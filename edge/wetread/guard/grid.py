"""Series that become the channels of one image must lie voxel on voxel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wetread.bundles.manifest import InputRule
from wetread.errors import GeometryInvalid
from wetread.records.model_input import ModelInput
from wetread.records.volume import Volume

_TOLERANCE_MM = 0.1
"""How far voxels of two series may be apart; scanners write positions with fewer digits than they know."""


def check_same_grid(images: Mapping[str, ModelInput], rules: tuple[InputRule, ...]) -> None:
    """Refuse a study whose series for one key of the bundle lie on different grids; nothing is resampled silently.

    ``images`` by input name; films lie on no grid. Raises: ``GeometryInvalid`` naming both series and the difference.
    """
    first: dict[str, Volume] = {}
    for rule in rules:
        volume = images[rule.name]
        if not isinstance(volume, Volume):
            continue
        reference = first.setdefault(rule.key or rule.name, volume)
        problem = _difference(reference, volume)
        if problem:
            raise GeometryInvalid(
                f"{reference.series.label} and {volume.series.label} must lie on one grid, because the model looks at "
                f"them voxel by voxel: {problem}"
            )


def _difference(one: Volume, other: Volume) -> str:
    if one.array.shape != other.array.shape:
        return f"{_size(one)} and {_size(other)} voxels (slices × rows × columns)"
    if one.frame_of_reference_uid != other.frame_of_reference_uid:
        return "they have different frames of reference, so nobody says how they lie to one another"
    apart_mm = _apart_mm(one, other)
    return f"voxels are up to {apart_mm:.3g} mm apart" if apart_mm > _TOLERANCE_MM else ""


def _size(volume: Volume) -> str:
    return " × ".join(map(str, volume.array.shape))


def _apart_mm(one: Volume, other: Volume) -> float:
    """Largest distance between voxels of the same index: it is at one of the corners."""
    last = np.array(one.array.shape) - 1
    corners = np.array([[*(last * corner), 1] for corner in np.ndindex(2, 2, 2)], float)
    return float(np.linalg.norm((corners @ (one.affine - other.affine).T)[:, :3], axis=1).max())
