"""What every rewriting of convolutions for OpenVINO's CPU plugin needs to know of them."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np
import numpy.typing as npt

KERNEL = 2
"""Axes of weights before the spatial ones: channels in and out."""
Floats = npt.NDArray[np.float32]

_LANES = 16
"""float32 numbers in one vector register; convolutions compute so many output channels at once, wanted or not."""
_WORTH = 0.6
"""Share of the work that must be left: spreading out the voxels afterwards takes time, too."""


def is_worth_it(channels: int, kernel: tuple[int, ...], *, packed_channels: int, steps: float) -> bool:
    """Whether a convolution to ``packed_channels`` is enough less work than the one to ``channels``.

    ``steps``: places of the packed kernel, in the time in which the other one goes through all of ``kernel`` once.
    """
    return _lanes(packed_channels) * steps <= _WORTH * _lanes(channels) * prod(kernel)


def _lanes(channels: int) -> int:
    return ceil(channels / _LANES) * _LANES


def with_bias(node: Any) -> tuple[Any, Floats | None]:
    """The node, or the addition of one number for each channel that is all that follows; and these numbers."""
    following = [target.get_node() for target in node.output(0).get_target_inputs()]
    if len(following) != 1 or following[0].get_type_name() != "Add":
        return node, None
    bias = following[0].input_value(1).get_node()
    rank, channels = len(node.output(0).shape), node.output(0).shape[1]
    if bias.get_type_name() != "Constant" or tuple(bias.data.shape) != (1, channels, *[1] * (rank - KERNEL)):
        return node, None
    return following[0], np.asarray(bias.data, np.float32)
