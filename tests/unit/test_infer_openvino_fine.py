"""What is computed on the coarser grid is what would have been computed on the finest one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets import UNet
from openvino import opset13 as ops
from torch.nn import functional

from wetread.infer.engines.openvino_engine import OpenVinoEngine
from wetread.infer.engines.openvino_fine import pack_convolutions, packed_by_two, spread_late
from wetread.infer.engines.plan import NetworkPlan

SIDES = (6, 8, 10)
RANDOM = np.random.default_rng(3)


def _numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def _kinds(model: openvino.Model) -> Counter[str]:
    return Counter(op.get_type_name() for op in model.get_ops())


def _assert_same_answers(rewritten: openvino.Model, plain: openvino.Model) -> None:
    image = _numbers(*plain.input(0).shape)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    given, expected = (openvino.Core().compile_model(m, "CPU", options)([image])[0] for m in (rewritten, plain))
    np.testing.assert_allclose(given, expected, atol=5e-5, rtol=0)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_packed_weights_convolve_as_the_plain_ones_do(data: st.DataObject) -> None:
    kernel = tuple(data.draw(st.lists(st.integers(1, 5), min_size=3, max_size=3)))
    channels_in, channels_out, seed = (data.draw(st.integers(1, n)) for n in (3, 3, 99))
    random = torch.Generator().manual_seed(seed)
    image = torch.randn((1, channels_in, 8, 8, 8), generator=random, dtype=torch.float64)
    weights = torch.randn((channels_out, channels_in, *kernel), generator=random).float()
    sides = [n for k in reversed(kernel) for n in (k // 2, k - 1 - k // 2)]
    expected = functional.conv3d(functional.pad(image, sides), weights.double())
    packed = torch.from_numpy(packed_by_two(weights.numpy())).double()
    coarse = functional.conv3d(functional.pad(image, sides), packed, stride=2)
    places = coarse.reshape(2, 2, 2, channels_out, 4, 4, 4).permute(3, 4, 0, 5, 1, 6, 2)
    torch.testing.assert_close(places.reshape(1, channels_out, 8, 8, 8), expected, atol=1e-12, rtol=0)


def _convolution(
    channels_out: int = 2,
    *,
    sides: tuple[int, ...] = SIDES,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    before: int | None = None,
    bias: bool = True,
) -> openvino.Model:
    image = ops.parameter([1, 3, *sides], np.float32)
    pads = [dilation * (kernel // 2) if before is None else before] * 3
    after = [dilation * (kernel - 1) - p for p in pads]
    answer = ops.convolution(
        image, ops.constant(_numbers(channels_out, 3, *[kernel] * 3)), [stride] * 3, pads, after, [dilation] * 3
    )
    if bias:
        answer = ops.add(answer, ops.constant(_numbers(1, channels_out, 1, 1, 1)))
    return openvino.Model([ops.relu(answer)], [image])


@pytest.mark.parametrize(
    ("how", "replaced"),
    [
        ({}, 1),
        ({"channels_out": 1}, 1),
        ({"channels_out": 4}, 1),
        ({"kernel": 5}, 1),
        ({"bias": False}, 1),
        ({"before": 0}, 1),
        ({"channels_out": 8}, 0),  # too much work
        ({"kernel": 1}, 0),
        ({"sides": (6, 7, 8)}, 0),
        ({"stride": 2}, 0),
        ({"dilation": 2}, 0),
    ],
)
def test_few_channels_are_packed_with_the_same_answer(how: dict[str, Any], replaced: int) -> None:
    model = _convolution(**how)
    plain = model.clone()
    assert pack_convolutions(model) == replaced
    assert _kinds(model)["DepthToSpace"] == replaced
    _assert_same_answers(model, plain)


STEPS: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "prelu": lambda x: ops.prelu(x, ops.constant(np.array([0.2], np.float32))),
    "prelu of channels": lambda x: ops.prelu(x, ops.constant(np.array([0.2, -0.1], np.float32))),
    "one number": lambda x: ops.multiply(x, ops.constant(np.float32(0.3))),
    "a number for each channel": lambda x: ops.add(x, ops.constant(_numbers(1, 2, 1, 1, 1))),
    "batch norm": lambda x: ops.batch_norm_inference(
        x, *(ops.constant(n) for n in (_numbers(2), _numbers(2), _numbers(2), np.abs(_numbers(2)) + 1)), 1e-5
    ),
}


def _spread(*steps: Callable[[Any], Any], mode: str = "blocks_first") -> openvino.Model:
    image = ops.parameter([1, 16, 3, 4, 5], np.float32)
    answer = ops.depth_to_space(image, mode, 2)
    for step in steps:
        answer = step(answer)
    return openvino.Model([answer], [image])


@pytest.mark.parametrize("step", STEPS)
def test_what_is_done_with_each_number_alone_is_done_before_voxels_are_spread(step: str) -> None:
    model = _spread(STEPS[step], ops.relu)
    plain = model.clone()
    assert spread_late(model) == 2
    assert model.get_results()[0].input_value(0).get_node().get_type_name() == "DepthToSpace"
    _assert_same_answers(model, plain)


@pytest.mark.parametrize(
    "model",
    [
        lambda: _spread(lambda x: ops.add(x, ops.constant(_numbers(1, 2, 6, 8, 10)))),
        lambda: _spread(lambda x: ops.multiply(x, ops.constant(_numbers(1, 1, 1, 1, 10)))),
        lambda: _spread(lambda x: ops.softmax(x, 1)),
        lambda: _spread(ops.relu, mode="depth_first"),
    ],
)
def test_what_knows_places_or_other_numbers_stays_where_it_is(model: Callable[[], openvino.Model]) -> None:
    made = model()
    assert spread_late(made) == 0


def test_sum_of_two_spread_images_is_spread_once() -> None:
    image = ops.parameter([1, 16, 3, 4, 5], np.float32)
    first = ops.depth_to_space(image, "blocks_first", 2)
    second = ops.depth_to_space(ops.sigmoid(image), "blocks_first", 2)
    model = openvino.Model([ops.add(first, second)], [image])
    plain = model.clone()
    assert spread_late(model) == 1
    assert _kinds(model)["DepthToSpace"] == 1
    _assert_same_answers(model, plain)


def test_image_that_is_wanted_twice_is_still_there() -> None:
    image = ops.parameter([1, 16, 3, 4, 5], np.float32)
    fine = ops.depth_to_space(image, "blocks_first", 2)
    model = openvino.Model([ops.concat([ops.relu(fine), ops.softmax(fine, 1)], 1)], [image])
    plain = model.clone()
    assert spread_late(model) == 1
    _assert_same_answers(model, plain)


def test_last_layers_of_a_unet_are_computed_on_the_coarser_grid(tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = UNet(3, 1, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=2, norm="batch").eval()
    engine = OpenVinoEngine(NetworkPlan("net", "key", lambda: network, tmp_path, "f32", threads=1))
    model, _ = engine._model((1, 1, 24, 16, 32), mask=False)
    fine = [op for op in model.get_ordered_ops() if tuple(op.output(0).shape) == (1, 2, 24, 16, 32)]
    assert {op.get_type_name() for op in fine} == {"DepthToSpace", "Result"}
    engine.close()
