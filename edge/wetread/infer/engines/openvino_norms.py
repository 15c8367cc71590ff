"""Norms over many voxels, written so that OpenVINO's CPU plugin computes them as exactly as PyTorch does."""

from __future__ import annotations

from typing import Any

import numpy as np

_MANY = 4096
"""Numbers whose sum, one after the other in float32, is still right to about 1e-5 (measured: 16³ and fewer are)."""
_FIRST_AXIS = 2
"""Of an image's axes (batch, channel, *spatial)."""


def steady_norms(model: Any) -> int:
    """Replace norms over more than ``_MANY`` numbers, in place; how many were.

    The plugin's own kernel (MVN) adds up a whole channel in one float32 number. At 96³ voxels, and where many of them
    are alike, as in air, mean and variance are wrong in the third digit: a SwinUNETR's logits then differ by up to 0.03
    from PyTorch's. Here sums are taken along one axis first, and over the others after that.
    ``model``: an ``openvino.Model`` of static shape.
    """
    large = [node for node in model.get_ordered_ops() if _is_large(node)]
    for node in large:
        _replace(node)
    model.validate_nodes_and_infer_types()
    return len(large)


def _is_large(node: Any) -> bool:
    if node.get_type_name() != "MVN" or node.get_input_size() != 2:
        return False
    shape, how = list(node.input_value(0).shape), node.get_attributes()
    return (
        _axes(node) == list(range(_FIRST_AXIS, len(shape)))
        and how["normalize_variance"]
        and str(how["eps_mode"]).lower() == "inside_sqrt"
        and int(np.prod(shape[_FIRST_AXIS:])) > _MANY
    )


def _axes(node: Any) -> list[int]:
    axes = node.input_value(1).get_node()
    if axes.get_type_name() != "Constant":
        return []
    rank = len(node.input_value(0).shape)
    return sorted(int(axis) % rank for axis in np.ravel(axes.data))


def _replace(node: Any) -> None:
    from openvino import opset13 as ops

    image, epsilon = _as_grid(node.input_value(0)), np.float32(node.get_attributes()["eps"])
    last = len(image.shape) - 1
    centred = ops.subtract(image, _mean(ops.reduce_mean(image, ops.constant([last]), keep_dims=True)))
    length = ops.reduce_l2(centred, ops.constant([last]), keep_dims=True)
    squares = ops.divide(ops.multiply(length, length), ops.constant(np.float32(image.shape[last])))
    scale = ops.power(ops.add(_mean(squares), ops.constant(epsilon)), ops.constant(np.float32(-0.5)))
    answer = ops.multiply(centred, scale)
    if len(image.shape) != len(node.output(0).shape):
        answer = ops.reshape(answer, ops.constant(list(node.output(0).shape)), special_zero=False)
    answer.set_friendly_name(node.get_friendly_name())
    node.output(0).replace(answer.output(0))


def _as_grid(image: Any) -> Any:
    """A group norm comes with all its numbers in one row: cut into rows, as an image has them."""
    from openvino import opset13 as ops

    shape = list(image.shape)
    if shape[-1] <= _MANY:
        return image
    row = max(n for n in range(1, _MANY + 1) if shape[-1] % n == 0)
    return ops.reshape(image, ops.constant([*shape[:-1], shape[-1] // row, row]), special_zero=False).output(0)


def _mean(rows: Any) -> Any:
    """The mean over all spatial axes, the last of which is reduced. Flat, or the plugin makes one sum of the two."""
    from openvino import opset13 as ops

    shape = list(rows.get_output_shape(0))
    flat = ops.reshape(rows, ops.constant([*shape[:_FIRST_AXIS], -1]), special_zero=False)
    mean = ops.reduce_mean(flat, ops.constant([_FIRST_AXIS]), keep_dims=True)
    return ops.reshape(mean, ops.constant([*shape[:_FIRST_AXIS], *[1] * (len(shape) - 2)]), special_zero=False)
