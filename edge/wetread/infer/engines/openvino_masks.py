"""A network of two classes that answers which of them is the larger: one byte for each voxel instead of two floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from wetread.infer.engines.openvino_convolutions import KERNEL, with_bias
from wetread.infer.engines.openvino_graph import packed

_CLASSES = 2
_AXES = 3
_PAIR = np.dtype(np.uint16)
"""Two voxels that lie side by side are moved as one number."""
Mask = npt.NDArray[np.uint8]


def answer_with_mask(model: Any) -> bool | None:
    """Let ``model`` answer with a mask, uint8, in place: 1 where the second of its two channels is larger.

    Softmax does not change which is larger and is left out. Where an upsampling by two is all that comes before it, and
    each of its voxels comes from one, only the difference of the two classes is computed, on the coarse grid: the whole
    answer in floats would be written and read several times.
    ``model``: an ``openvino.Model`` of static shape. Returns: whether the answer is on the coarse grid, ``(1, i, j, k,
    8)``, for ``spread``; else it is ``(1, 1, *spatial)``. None, and nothing is changed, for a model that has not one
    answer of two channels.
    """
    from openvino import opset13 as ops

    results = model.get_results()
    if len(results) != 1 or results[0].get_output_shape(0)[1] != _CLASSES:
        return None
    classes = _without_softmax(results[0].input_value(0))
    mask = _coarse(classes)
    made = mask
    if made is None:
        first, second = ops.split(classes, ops.constant(1), _CLASSES).outputs()
        made = ops.convert(ops.greater(second, first), "u8")
    model.remove_result(results[0])
    model.add_results([ops.result(made)])
    model.validate_nodes_and_infer_types()
    return mask is not None


def spread(coarse: Mask, fine: Mask) -> None:
    """Write eight voxels of a mask for each voxel of the coarse grid: ``(i, j, k, 8)`` → ``(2i, 2j, 2k)``."""
    first, second, third, _voxels = coarse.shape
    pairs = coarse.view(_PAIR).reshape(first, second, third, 2, 2)
    places = fine.view(_PAIR).reshape(first, 2, second, 2, third)
    for plane in range(first):  # which stays in the cache
        places[plane] = pairs[plane].transpose(2, 0, 3, 1)


def _without_softmax(classes: Any) -> Any:
    node = classes.get_node()
    if node.get_type_name() != "Softmax" or node.get_attributes()["axis"] not in (1, 1 - len(classes.get_shape())):
        return classes
    return node.input_value(0)


def _coarse(classes: Any) -> Any:
    """The mask on the coarse grid, its channels last; none where the last step is not such an upsampling."""
    from openvino import opset13 as ops

    node = classes.get_node()
    node = node.input_value(0).get_node() if node.get_type_name() == "Add" else node
    if not _doubles(node):
        return None
    end, bias = with_bias(node)
    if end.get_friendly_name() != classes.get_node().get_friendly_name():
        return None
    weights = node.input_value(1).get_node().data
    plan = packed(weights[:, 1:] - weights[:, :1], (2,) * _AXES, (0,) * _AXES)
    zeros, ones = [0] * _AXES, [1] * _AXES
    ahead = ops.convolution(node.input_value(0), ops.constant(plan.weights), ones, zeros, zeros, ones)
    needed = np.float32(0 if bias is None else bias.reshape(-1)[0] - bias.reshape(-1)[-1])
    mask = ops.convert(ops.greater(ahead, ops.constant(needed)), "u8")
    return ops.transpose(mask, ops.constant([0, 2, 3, 4, 1]))  # as the plugin has it in memory anyway


def _doubles(node: Any) -> bool:
    """Whether it is a transposed convolution that makes a block of 2³ voxels of each one."""
    if node.get_type_name() != "ConvolutionBackpropData" or node.get_input_size() != 2:
        return False
    if node.input_value(1).get_node().get_type_name() != "Constant":
        return False
    how = node.get_attributes()
    moved = (*how["pads_begin"], *how["pads_end"], *how["output_padding"], *(n - 1 for n in how["dilations"]))
    twice = [2] * _AXES
    kernel = list(node.input_value(1).get_node().data.shape[KERNEL:])
    return kernel == list(how["strides"]) == twice and not any(moved) and how["auto_pad"] == "explicit"
