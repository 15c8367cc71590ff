"""What is rewritten in a graph for OpenVINO gives the same numbers, and only what is worth it is rewritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets import UNet
from openvino import opset13 as ops
from torch.nn import functional

from wetread.infer.engines.engine import backend
from wetread.infer.engines.openvino_graph import pack_upsampling, packed, pair_voxels, paired
from wetread.infer.engines.plan import NetworkPlan


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_packed_weights_upsample_as_a_transposed_convolution_does(data: st.DataObject) -> None:
    rank, channels_in, channels_out = (data.draw(st.integers(low, 3)) for low in (2, 1, 1))
    stride = data.draw(st.integers(2, 3))
    kernel = tuple(data.draw(st.lists(st.integers(1, 5), min_size=rank, max_size=rank)))
    padding = tuple(data.draw(st.integers(0, (k - 1) // 2)) for k in kernel)
    size = tuple(data.draw(st.lists(st.integers(1, 5), min_size=rank, max_size=rank)))
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    image = torch.randn((1, channels_in, *size), generator=random, dtype=torch.float64)
    weights = torch.randn((channels_in, channels_out, *kernel), generator=random).float()

    whole = functional.conv_transpose3d if rank == 3 else functional.conv_transpose2d
    fine = tuple(stride * n for n in size)
    # Without padding, then cut: PyTorch's own padding cannot ask for so many voxels at the end.
    expected = torch.zeros((1, channels_out, *(n + stride + 5 for n in fine)), dtype=torch.float64)
    answer = whole(image, weights.double(), stride=stride)
    expected[(..., *(slice(0, n) for n in answer.shape[2:]))] = answer
    expected = expected[(..., *(slice(p, p + n) for p, n in zip(padding, fine, strict=True)))]

    plan = packed(weights.numpy(), (stride,) * rank, padding)
    sides = [n for pair in zip(reversed(plan.before), reversed(plan.after), strict=True) for n in pair]
    plain = functional.conv3d if rank == 3 else functional.conv2d
    channels = plain(functional.pad(image, sides), torch.from_numpy(plan.weights).double())
    places = channels.reshape(*(stride,) * rank, channels_out, *size)
    order = [rank, *(axis for a in range(rank) for axis in (rank + 1 + a, a))]
    torch.testing.assert_close(places.permute(order).reshape(1, channels_out, *fine), expected, atol=1e-12, rtol=0)


def _upsampling(channels_out: int, *, kernel: int = 3, bias: bool = True, twice: bool = False) -> openvino.Model:
    random = np.random.default_rng(3)
    image = ops.parameter([1, 16, 6, 5, 4], np.float32)
    weights = ops.constant(random.standard_normal((16, channels_out, *[kernel] * 3)).astype(np.float32))
    padding = [(kernel - 2 + 1) // 2] * 3
    answer = ops.convolution_backprop_data(
        image,
        weights,
        [2] * 3,
        pads_begin=padding,
        pads_end=padding,
        dilations=[1] * 3,
        output_padding=[kernel % 2] * 3,
    )
    node = answer
    if bias:
        node = ops.add(node, ops.constant(random.standard_normal((1, channels_out, 1, 1, 1)).astype(np.float32)))
    results = [ops.prelu(node, ops.constant(np.array([0.2], np.float32))), *([answer] if twice else [])]
    return openvino.Model(results, [image])


def _answers(model: openvino.Model) -> list[np.ndarray]:  # type: ignore[type-arg]
    image = np.random.default_rng(4).standard_normal((1, 16, 6, 5, 4)).astype(np.float32)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(compiled([image]).values())


@pytest.mark.parametrize(
    ("model", "replaced"),
    [
        (lambda: _upsampling(1), 1),
        (lambda: _upsampling(2), 1),
        (lambda: _upsampling(4), 1),
        (lambda: _upsampling(2, bias=False), 1),
        (lambda: _upsampling(2, twice=True), 1),  # the bias stays where it is: something else wants what is before it
        (lambda: _upsampling(8), 0),
        (lambda: _upsampling(2, kernel=2), 0),
    ],
)
def test_few_channels_are_packed_with_the_same_answer(model: object, replaced: int) -> None:
    plain, rewritten = model(), model()  # type: ignore[operator]
    assert pack_upsampling(rewritten) == replaced
    left = sum(node.get_type_name() == "ConvolutionBackpropData" for node in rewritten.get_ops())
    assert left == 1 - replaced
    for answer, expected in zip(_answers(rewritten), _answers(plain), strict=True):
        np.testing.assert_allclose(answer, expected, atol=2e-5, rtol=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 7), st.data())
def test_paired_weights_convolve_as_the_plain_ones_do(kernel: int, data: st.DataObject) -> None:
    padding, across = data.draw(st.integers(0, kernel - 1)), data.draw(st.integers(1, 3))
    random = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    image = torch.randn((1, 1, 5, 12), generator=random, dtype=torch.float64)
    weights = torch.randn((3, 1, across, kernel), generator=random).float()
    padded = functional.pad(image, (padding, kernel))  # more than is needed, then the half of the voxels
    expected = functional.conv2d(padded, weights.double(), stride=(1, 2))[..., :6]
    plan = paired(weights.numpy(), padding)
    pairs = functional.pad(image.reshape(1, 5, 6, 2).permute(0, 3, 1, 2), (*plan.before, *plan.after))
    answer = functional.conv2d(pairs, torch.from_numpy(plan.weights).double())
    torch.testing.assert_close(answer, expected, atol=1e-12, rtol=0)


def _first(channels: int = 1, size: int = 16, stride: int = 2, padding: int = 3) -> openvino.Model:
    image = ops.parameter([1, channels, 6, 8, size], np.float32)
    weights = np.random.default_rng(3).standard_normal((4, channels, 7, 7, 7)).astype(np.float32)
    strides, sides, ones = [2, 2, stride], [3, 3, padding], [1] * 3
    return openvino.Model([ops.convolution(image, ops.constant(weights), strides, sides, sides, ones)], [image])


@pytest.mark.parametrize(
    ("model", "replaced"),
    [
        (_first, 1),
        (lambda: _first(channels=2), 0),
        (lambda: _first(size=15), 0),
        (lambda: _first(stride=1), 0),
        (lambda: _first(padding=2), 0),  # the answer has not half the voxels
    ],
)
def test_first_convolution_takes_pairs_of_voxels_with_the_same_answer(model: object, replaced: int) -> None:
    plain, rewritten = model(), model()  # type: ignore[operator]
    assert pair_voxels(rewritten) == replaced
    image = np.random.default_rng(4).standard_normal(tuple(plain.input(0).shape)).astype(np.float32)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    given, expected = (openvino.Core().compile_model(m, "CPU", options)([image])[0] for m in (rewritten, plain))
    np.testing.assert_allclose(given, expected, atol=2e-4, rtol=0)


def test_unet_with_two_classes_answers_as_torch_does(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = UNet(3, 1, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=2, norm="batch").eval()
    plan = NetworkPlan("net", "key", lambda: network, tmp_path, "f32", threads=1)
    image = np.random.default_rng(1).standard_normal((3, 1, 24, 16, 32)).astype(np.float32)
    engine = backend("openvino").open_engine(plan)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(engine(image), expected, atol=1e-5, rtol=0)
    engine.close()
