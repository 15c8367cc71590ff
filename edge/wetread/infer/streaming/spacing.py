"""MONAI's ``Spacing`` with the same voxels, computed axis by axis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Spacing, Spacingd, SpatialResample
from monai.utils.enums import LazyAttr, TraceKeys
from torch import Tensor

from wetread.infer.streaming.axes import INTERPOLATION, UNCHANGED, AxisMap, axis_maps, resampled

_TOLERANCE = 1e-6
"""Voxels; far below what float32 resolves in an image."""


class SeparableResample(SpatialResample):
    """``SpatialResample`` that goes axis by axis where the grids are parallel, forwards and in ``inverse``.

    Metadata and the trace for the inverse are made by MONAI; every other case is left to it altogether.
    """

    def __call__(self, img: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As MONAI's."""
        return self._resampled(img, args, kwargs)

    def inverse(self, data: Tensor) -> Tensor:
        """Back to the grid from before ``__call__``, with the interpolation noted there."""
        noted = self.pop_transform(data)
        how = noted[TraceKeys.EXTRA_INFO]
        arguments = {
            "dst_affine": how["src_affine"],
            "spatial_size": noted[TraceKeys.ORIG_SIZE],
            "mode": how["mode"],
            "padding_mode": how["padding_mode"],
            "align_corners": how.get("align_corners") is True,
            "dtype": getattr(torch, str(how["dtype"]).removeprefix("torch.")),
        }
        with self.trace_transform(False):
            return self._resampled(data, (), arguments)

    def _resampled(self, img: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        if not isinstance(img, MetaTensor) or img.pending_operations or self._lazy_asked(kwargs):
            return SpatialResample.__call__(self, img, *args, **kwargs)
        # Asked lazily, MONAI works out grid and trace and touches no voxel.
        with self.trace_transform(True):
            planned = SpatialResample.__call__(self, img, *args, **{**kwargs, "lazy": True})
        operation = dict(planned.pending_operations[-1])
        maps = _maps(operation, tuple(img.shape[1:]))
        if maps is None:
            return SpatialResample.__call__(self, img, *args, **kwargs)
        matrix = operation.pop(LazyAttr.AFFINE)
        operation.pop(LazyAttr.SHAPE)
        voxels = resampled(img.as_tensor().to(torch.float32), maps)
        answer = MetaTensor(voxels, meta=img.meta, applied_operations=list(img.applied_operations))
        answer.affine = img.affine @ matrix.to(img.affine)
        if self.tracing:
            operation[TraceKeys.LAZY] = False
            answer.push_applied_operation(operation)
        return answer

    def _lazy_asked(self, kwargs: dict[str, Any]) -> bool:
        asked = kwargs.get("lazy")
        return bool(self.lazy if asked is None else asked)


def _maps(operation: dict[str, Any], shape: tuple[int, ...]) -> tuple[AxisMap, ...] | None:
    how = operation[TraceKeys.EXTRA_INFO]
    matrix = np.asarray(operation[LazyAttr.AFFINE], np.float64)
    wanted = tuple(int(n) for n in operation[LazyAttr.SHAPE])
    same = wanted == shape and np.allclose(matrix, np.eye(len(matrix)), atol=UNCHANGED)
    mode = INTERPOLATION.get(how["mode"])
    if same or mode is None or how["padding_mode"] != "border" or len(shape) != len(matrix) - 1:
        return None
    return axis_maps(
        matrix,
        shape,
        wanted,
        interpolation=mode,
        align_corners=how["align_corners"] is True,
        tolerance=_TOLERANCE,
    )


def resample_axis_by_axis(transforms: Iterable[object]) -> None:
    """Let every ``Spacing`` and ``Spacingd`` among the transforms resample with ``SeparableResample``, in place."""
    for transform in transforms:
        spacing = transform.spacing_transform if isinstance(transform, Spacingd) else transform
        if isinstance(spacing, Spacing) and type(spacing.sp_resample) is SpatialResample:
            plain = spacing.sp_resample
            spacing.sp_resample = SeparableResample(
                mode=plain.mode,
                padding_mode=plain.padding_mode,
                align_corners=plain.align_corners,
                dtype=plain.dtype,
                lazy=plain.lazy,
            )
