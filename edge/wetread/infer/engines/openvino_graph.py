"""A network's graph, written so that OpenVINO's CPU plugin computes it faster: the same sums in another order."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from wetread.infer.engines.openvino_convolutions import KERNEL, Floats, is_worth_it, with_bias

_VOLUME = 5
"""Axes of a batch of images in three dimensions."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A transposed convolution as a plain one whose channels are the voxels that come from one input voxel."""

    weights: Floats
    """``(stride position × channel out, channel in, *kernel)``: the position changes slowest."""
    before: tuple[int, ...]
    """Voxels of padding before each axis of the input."""
    after: tuple[int, ...]


def pack_upsampling(model: Any) -> int:
    """Replace transposed convolutions to very few channels, in place; how many were.

    The last upsampling of a U-Net with two classes has two output channels in registers of 16: a quarter of the whole
    network's time. Written as a convolution whose channels are the ``stride³`` voxels that come from one input voxel,
    the registers are full; bias follows, then the channels are spread out over the finer grid.
    ``model``: an ``openvino.Model`` of static shape.
    """
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())  # or weights and biases may still be computed from something
    passes.run_passes(model)
    done = [_replace(node) for node in model.get_ordered_ops() if _can_be_packed(node)]
    model.validate_nodes_and_infer_types()
    return sum(done)


def packed(weights: Floats, stride: tuple[int, ...], padding: tuple[int, ...]) -> Packed:
    """Weights ``(channel in, channel out, *kernel)`` of a transposed convolution, packed.

    It adds ``weights[k]`` times input voxel ``i`` to output voxel ``stride · i + k - padding``. Output voxel
    ``stride · j + position`` so gets ``weights[k]`` from input voxel ``j + step``, where
    ``k = position + padding - stride · step``.
    """
    kernel = weights.shape[KERNEL:]
    steps = [_steps(*sides) for sides in zip(kernel, stride, padding, strict=True)]
    before = tuple(-min(steps_along.values()) for steps_along in steps)
    after = tuple(max(steps_along.values()) for steps_along in steps)
    size = tuple(b + a + 1 for b, a in zip(before, after, strict=True))
    made = np.zeros((*stride, weights.shape[1], weights.shape[0], *size), np.float32)
    for k in np.ndindex(*kernel):
        position = tuple((n - p) % s for n, p, s in zip(k, padding, stride, strict=True))
        place = tuple(along[n] + b for along, n, b in zip(steps, k, before, strict=True))
        made[(*position, slice(None), slice(None), *place)] = weights[(slice(None), slice(None), *k)].T
    return Packed(made.reshape(-1, weights.shape[0], *size), before, after)


def pair_voxels(model: Any) -> int:
    """Let convolutions of an image of one channel take two neighbours along the last axis as two channels, in place.

    Each step of a convolution is a product of its channels: of one there is little to multiply. Two neighbours lie side
    by side in memory, so nothing is moved. For a stride of two along that axis, where it is the same sum.
    Returns: how many were replaced.
    """
    found = [node for node in model.get_ordered_ops() if _can_be_paired(node)]
    for node in found:
        _pair(node)
    model.validate_nodes_and_infer_types()
    return len(found)


def paired(weights: Floats, padding: int) -> Packed:
    """Weights ``(channel out, 1, *kernel)`` with stride two along the last axis, for pairs of its voxels.

    Output voxel ``o`` gets ``weights[k]`` times input voxel ``2 · o + k - padding``, which is one of pair ``o + step``.
    """
    steps = [(k - padding) // 2 for k in range(weights.shape[-1])]
    before = -min(steps)
    made = np.zeros((weights.shape[0], 2, *weights.shape[KERNEL:-1], before + max(steps) + 1), np.float32)
    for k, step in enumerate(steps):
        made[:, (k - padding) % 2, ..., step + before] = weights[:, 0, ..., k]
    return Packed(made, (before,), (max(steps),))


def _can_be_paired(node: Any) -> bool:
    if node.get_type_name() != "Convolution" or node.input_value(0).get_node().get_type_name() != "Parameter":
        return False
    if node.input_value(1).get_node().get_type_name() != "Constant":
        return False
    how, shape = node.get_attributes(), tuple(node.input_value(0).get_shape())
    plain = how["auto_pad"] == "explicit" and set(how["dilations"]) == {1} and how["pads_begin"][-1] >= 1
    halved = shape[-1] % 2 == 0 and how["strides"][-1] == 2 and node.output(0).get_shape()[-1] == shape[-1] // 2
    return plain and halved and len(shape) == _VOLUME and shape[1] == 1


def _pair(node: Any) -> None:
    from openvino import opset13 as ops

    how, shape = node.get_attributes(), tuple(node.input_value(0).get_shape())
    plan = paired(node.input_value(1).get_node().data, how["pads_begin"][-1])
    pairs = ops.reshape(
        node.input_value(0), ops.constant([shape[0], *shape[2:-1], shape[-1] // 2, 2]), special_zero=False
    )
    answer = ops.convolution(
        ops.transpose(pairs, ops.constant([0, _VOLUME - 1, *range(1, _VOLUME - 1)])),
        ops.constant(plan.weights),
        [*how["strides"][:-1], 1],
        [*how["pads_begin"][:-1], *plan.before],
        [*how["pads_end"][:-1], *plan.after],
        [1] * (_VOLUME - KERNEL),
    )
    answer.set_friendly_name(node.get_friendly_name())
    node.output(0).replace(answer.output(0))


def _steps(kernel: int, stride: int, padding: int) -> dict[int, int]:
    """By place in the kernel, along one axis: which input voxel it is for, from the output's own."""
    return {k: ((k - padding) % stride + padding - k) // stride for k in range(kernel)}


def _can_be_packed(node: Any) -> bool:
    if node.get_type_name() != "ConvolutionBackpropData" or node.get_input_size() != 2:
        return False
    if node.input_value(1).get_node().get_type_name() != "Constant":
        return False
    how, weights = node.get_attributes(), node.input_value(1).get_node().data
    fine = [s * n for s, n in zip(how["strides"], tuple(node.input_value(0).shape)[KERNEL:], strict=True)]
    plain = how["auto_pad"] == "explicit" and set(how["dilations"]) == {1} and len(set(how["strides"])) == 1
    return plain and list(node.output(0).shape)[KERNEL:] == fine and _is_less_work(weights.shape, how)


def _is_less_work(shape: tuple[int, ...], how: Any) -> bool:
    kernel, stride, padding, channels = shape[KERNEL:], how["strides"], how["pads_begin"], shape[1]
    if all(k <= s for k, s in zip(kernel, stride, strict=True)):
        return False  # every output voxel comes from one input voxel: that is limited by memory, not by registers
    spans = [_steps(*sides).values() for sides in zip(kernel, stride, padding, strict=True)]
    steps = prod(max(span) - min(span) + 1 for span in spans)
    return is_worth_it(channels, kernel, packed_channels=channels * prod(stride), steps=steps)


def _replace(node: Any) -> bool:
    from openvino import opset13 as ops

    how, weights = node.get_attributes(), node.input_value(1).get_node().data
    stride = tuple(how["strides"])
    plan = packed(weights, stride, tuple(how["pads_begin"]))
    ones = [1] * len(stride)
    answer = ops.convolution(
        node.input_value(0), ops.constant(plan.weights), ones, list(plan.before), list(plan.after), ones
    )
    last, bias = with_bias(node)
    if bias is not None:  # on the coarse grid, where it is part of the convolution
        every = np.tile(np.broadcast_to(bias.reshape(-1), weights.shape[1]), prod(stride))
        answer = ops.add(answer, ops.constant(every.reshape(1, -1, *ones).astype(np.float32)))
    answer = ops.depth_to_space(answer, "blocks_first", stride[0])
    answer.set_friendly_name(last.get_friendly_name())
    last.output(0).replace(answer.output(0))
    return True
