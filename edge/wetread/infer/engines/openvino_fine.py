"""The last layers of a network, on the finest grid with few channels, computed on the grid that is half as fine."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from wetread.infer.engines.openvino_convolutions import KERNEL, Floats, is_worth_it, with_bias

_AXES = 3
_PLACES = 2**_AXES
"""Voxels that come from one voxel of the coarser grid."""


def pack_convolutions(model: Any) -> int:
    """Replace convolutions to very few channels by ones that step by two, in place; how many were.

    Two output channels fill two of sixteen lanes. Eight neighbours at once fill them all, and need a kernel that is
    one voxel longer along each axis instead of eight kernels. ``model``: an ``openvino.Model`` of static shape.
    """
    found = [node for node in model.get_ordered_ops() if _can_be_packed(node)]
    for node in found:
        _pack(node)
    model.validate_nodes_and_infer_types()
    return len(found)


def packed_by_two(weights: Floats) -> Floats:
    """Weights ``(channel out, channel in, *kernel)`` of a convolution, for two steps along each axis at once.

    Returns ``(position × channel out, channel in, *(kernel + 1))``; the position changes slowest. Output voxel
    ``2 · o + position`` is the sum over ``k`` of ``weights[k]`` times input voxel ``2 · o + position + k - padding``.
    """
    kernel = weights.shape[KERNEL:]
    made = np.zeros((*(2,) * len(kernel), *weights.shape[:KERNEL], *(k + 1 for k in kernel)), np.float32)
    for position in np.ndindex(*(2,) * len(kernel)):
        place = tuple(slice(p, p + k) for p, k in zip(position, kernel, strict=True))
        made[(*position, slice(None), slice(None), *place)] = weights
    return made.reshape(-1, *made.shape[len(kernel) + 1 :])


def spread_late(model: Any) -> int:
    """Move what is done with each number alone before the spreading of voxels over the finer grid, in place.

    There the channels fill the lanes, and a convolution before it takes these steps along. Returns: how many were.
    """
    moved = 0
    while any(_move(node) for node in model.get_ordered_ops()):
        moved += 1
        model.validate_nodes_and_infer_types()
    return moved


def _can_be_packed(node: Any) -> bool:
    if node.get_type_name() != "Convolution" or node.input_value(1).get_node().get_type_name() != "Constant":
        return False
    how, shape = node.get_attributes(), list(node.output(0).shape)
    sides = shape[KERNEL:]
    same = list(node.input_value(0).shape)[KERNEL:] == sides and set(how["strides"]) | set(how["dilations"]) == {1}
    if len(sides) != _AXES or not same or how["auto_pad"] != "explicit" or any(n % 2 for n in sides):
        return False
    kernel = node.input_value(1).get_node().data.shape[KERNEL:]
    steps = prod(k + 1 for k in kernel) / _PLACES
    return is_worth_it(shape[1], kernel, packed_channels=_PLACES * shape[1], steps=steps)


def _pack(node: Any) -> None:
    from openvino import opset13 as ops

    how, weights = node.get_attributes(), node.input_value(1).get_node().data
    answer = ops.convolution(
        node.input_value(0),
        ops.constant(packed_by_two(weights)),
        [2] * _AXES,
        list(how["pads_begin"]),
        list(how["pads_end"]),
        [1] * _AXES,
    )
    last, bias = with_bias(node)
    if bias is not None:
        answer = ops.add(answer, ops.constant(_for_all_places(bias)))
    answer = ops.depth_to_space(answer, "blocks_first", 2)
    answer.set_friendly_name(last.get_friendly_name())
    last.output(0).replace(answer.output(0))


def _move(node: Any) -> bool:
    from openvino import opset13 as ops

    if not node.get_input_size() or not _is_spread(node.input_value(0).get_node()):
        return False
    coarse = node.input_value(0).get_node().input_value(0)
    made = _done_before(node, coarse)
    if made is None:
        return False
    answer = ops.depth_to_space(made, "blocks_first", 2)
    answer.set_friendly_name(node.get_friendly_name())
    node.output(0).replace(answer.output(0))
    return True


def _is_spread(node: Any) -> bool:
    how = node.get_attributes()
    return (
        node.get_type_name() == "DepthToSpace"
        and (how["mode"], how["block_size"]) == ("blocks_first", 2)
        and len(node.output(0).shape) == KERNEL + _AXES
    )


def _done_before(node: Any, coarse: Any) -> Any | None:
    """The same step on the coarser grid, or None where it is not one of each number alone."""
    from openvino import opset13 as ops

    kind, others = node.get_type_name(), [node.input_value(i).get_node() for i in range(1, node.get_input_size())]
    if kind == "Add" and _is_spread(others[0]) and list(others[0].output(0).shape) == list(node.output(0).shape):
        return ops.add(coarse, others[0].input_value(0))
    if kind not in _STEPS or not all(other.get_type_name() == "Constant" for other in others):
        return None
    return _STEPS[kind](node, coarse, [other.data for other in others])


def _relu(_node: Any, coarse: Any, _numbers: list[Floats]) -> Any:
    from openvino import opset13 as ops

    return ops.relu(coarse)


def _prelu(_node: Any, coarse: Any, numbers: list[Floats]) -> Any:
    from openvino import opset13 as ops

    return ops.prelu(coarse, ops.constant(_tiled(numbers[0])))


def _batch_norm(node: Any, coarse: Any, numbers: list[Floats]) -> Any:
    from openvino import opset13 as ops

    return ops.batch_norm_inference(coarse, *(_tiled(n) for n in numbers), node.get_attributes()["epsilon"])


def _with_number(node: Any, coarse: Any, numbers: list[Floats]) -> Any | None:
    from openvino import opset13 as ops

    if numbers[0].size != 1 and tuple(numbers[0].shape) != (1, node.output(0).shape[1], *[1] * _AXES):
        return None
    made = ops.add if node.get_type_name() == "Add" else ops.multiply
    return made(coarse, ops.constant(_for_all_places(numbers[0])))


_STEPS: dict[str, Callable[[Any, Any, list[Floats]], Any]] = {
    "Relu": _relu,
    "PRelu": _prelu,
    "BatchNormInference": _batch_norm,
    "Add": _with_number,
    "Multiply": _with_number,
}


def _for_all_places(numbers: Floats) -> Floats:
    """One number for each channel ``(1, channel, 1, 1, 1)``, for each of eight voxels in their place."""
    return _tiled(numbers.reshape(-1)).reshape(1, -1, *[1] * _AXES)


def _tiled(numbers: Floats) -> Floats:
    return numbers if numbers.size == 1 else np.tile(numbers, _PLACES)
