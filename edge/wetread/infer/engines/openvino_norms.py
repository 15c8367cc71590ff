"""Norms over many voxels, written so that OpenVINO's CPU plugin computes them as exactly as PyTorch does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_MANY = 4096
"""Numbers whose sum, one after the other in float32, is still right to about 1e-5 (measured: 16³ and fewer are)."""
_FIRST_AXIS = 2
"""Of an image's axes (batch, channel, *spatial)."""
_GROUPED = 3
"""Axes of an image in groups: (batch, group, all numbers of it)."""


@dataclass(frozen=True, slots=True)
class _Norm:
    """One that is to be rewritten."""

    image: Any
    """Output that is normalised: ``(batch, channel, *spatial)``."""
    last: Any
    """Node whose answer is replaced, in the image's shape."""
    groups: int
    epsilon: float


def steady_norms(model: Any) -> int:
    """Replace norms over more than ``_MANY`` numbers, in place; how many were.

    The plugin's own kernel (MVN) adds up a whole channel in one float32 number. At 96³ voxels, and where many of them
    are alike, as in air, mean and variance are wrong in the third digit: a SwinUNETR's logits then differ by up to 0.03
    from PyTorch's. Here sums are taken along one axis first, and over the others after that.

    A group norm comes as a row of numbers for each group. Convolutions keep a voxel's channels side by side, and
    putting them into such rows took a third of a SegResNet's time: here its channels are added up where they lie, then
    those of a group.
    ``model``: an ``openvino.Model`` of static shape.
    """
    found = [norm for node in model.get_ordered_ops() if (norm := _large(node)) is not None]
    for norm in found:
        _replace(norm)
    model.validate_nodes_and_infer_types()
    return len(found)


def _large(node: Any) -> _Norm | None:
    if node.get_type_name() != "MVN" or node.get_input_size() != 2:
        return None
    shape, how = list(node.input_value(0).shape), node.get_attributes()
    if (
        _axes(node) != list(range(_FIRST_AXIS, len(shape)))
        or not how["normalize_variance"]
        or str(how["eps_mode"]).lower() != "inside_sqrt"
        or int(np.prod(shape[_FIRST_AXIS:])) <= _MANY
    ):
        return None
    return _in_groups(node, how["eps"]) or _Norm(node.input_value(0), node, shape[1], how["eps"])


def _in_groups(node: Any, epsilon: float) -> _Norm | None:
    """A norm of an image whose channels were put into groups before it and taken out of them after it."""
    before, last = node.input_value(0).get_node(), _only_user(node)
    if len(node.output(0).shape) != _GROUPED or before.get_type_name() != "Reshape":
        return None
    while last is not None and _changes_nothing(last):
        last = _only_user(last)
    image, (batch, groups, _) = before.input_value(0), list(node.output(0).shape)
    whole = list(image.shape)
    if last is None or last.get_type_name() != "Reshape" or list(last.output(0).shape) != whole:
        return None
    return _Norm(image, last, groups, epsilon) if whole[0] == batch and whole[1] % groups == 0 else None


def _only_user(node: Any) -> Any | None:
    users = [target.get_node() for target in node.output(0).get_target_inputs()]
    return users[0] if len(users) == 1 else None


def _changes_nothing(node: Any) -> bool:
    """Times one, plus nothing: the weights of the norm that ONNX has for groups, whose own follow behind it."""
    neutral = {"Multiply": 1.0, "Add": 0.0}.get(node.get_type_name())
    if neutral is None or node.input_value(1).get_node().get_type_name() != "Constant":
        return False
    return bool(np.all(node.input_value(1).get_node().data == neutral))


def _axes(node: Any) -> list[int]:
    axes = node.input_value(1).get_node()
    if axes.get_type_name() != "Constant":
        return []
    rank = len(node.input_value(0).shape)
    return sorted(int(axis) % rank for axis in np.ravel(axes.data))


def _replace(norm: _Norm) -> None:
    from openvino import opset13 as ops

    image = _in_rows(norm.image)
    last = len(image.shape) - 1
    mean = _mean(ops.reduce_mean(image, ops.constant([last]), keep_dims=True), norm.groups)
    centred = ops.subtract(image, mean)
    length = ops.reduce_l2(centred, ops.constant([last]), keep_dims=True)
    squares = ops.divide(ops.multiply(length, length), ops.constant(np.float32(image.shape[last])))
    variance = ops.add(_mean(squares, norm.groups), ops.constant(np.float32(norm.epsilon)))
    answer = ops.multiply(centred, ops.power(variance, ops.constant(np.float32(-0.5))))
    if len(image.shape) != len(norm.image.shape):
        answer = ops.reshape(answer, ops.constant(list(norm.image.shape)), special_zero=False)
    answer.set_friendly_name(norm.last.get_friendly_name())
    norm.last.output(0).replace(answer.output(0))


def _in_rows(image: Any) -> Any:
    """An image whose last axis is no longer than ``_MANY``: one that comes as a single long row is cut."""
    from openvino import opset13 as ops

    shape = list(image.shape)
    if shape[-1] <= _MANY:
        return image
    row = max(n for n in range(1, _MANY + 1) if shape[-1] % n == 0)
    return ops.reshape(image, ops.constant([*shape[:-1], shape[-1] // row, row]), special_zero=False).output(0)


def _mean(rows: Any, groups: int) -> Any:
    """The mean over all spatial axes, the last of which is reduced, and over the channels of a group: one a channel.

    Flat, or the plugin makes one sum of the two.
    """
    from openvino import opset13 as ops

    shape = list(rows.get_output_shape(0))
    batch, channels = shape[:_FIRST_AXIS]
    flat = ops.reshape(rows, ops.constant([batch, channels, -1]), special_zero=False)
    mean = ops.reduce_mean(flat, ops.constant([_FIRST_AXIS]), keep_dims=True)
    if groups != channels:
        grouped = ops.reshape(mean, ops.constant([batch, groups, channels // groups]), special_zero=False)
        of_group = ops.reduce_mean(grouped, ops.constant([_FIRST_AXIS]), keep_dims=True)
        mean = ops.broadcast(of_group, ops.constant([batch, groups, channels // groups]))
    return ops.reshape(mean, ops.constant([batch, channels, *[1] * (len(shape) - 2)]), special_zero=False)
