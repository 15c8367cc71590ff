"""A program with the streamed tail against the same program without it, from images to the finished prediction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import Activationsd, AsDiscreted, Compose, EnsureTyped, Invertd, ScaleIntensityd, Spacingd
from torch import nn

from network_bundles import oblique_volume
from wetread.infer.configs.in_memory import InMemoryd, Unchanged
from wetread.infer.geometry import to_meta_tensor
from wetread.infer.program import Program
from wetread.infer.streaming.tail import Tail, streamed


def _image() -> MetaTensor:
    return to_meta_tensor(oblique_volume((20, 33, 28)))


class _Halved(nn.Module):
    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool3d(torch.cat([windows, 0.7 - windows], dim=1), 2)


def _network() -> nn.Module:
    torch.manual_seed(8)
    return UNet(spatial_dims=3, in_channels=1, out_channels=3, channels=(4, 8), strides=(2,)).eval()


def _program(network: nn.Module, inferer: Any, *, postprocessing: list[Any] | None = None) -> Program:
    pre = Compose(
        [
            InMemoryd("image", ensure_channel_first=True),
            Spacingd("image", pixdim=(1.5, 1.5, 2.0), mode="bilinear"),
            ScaleIntensityd("image"),
            EnsureTyped("image"),
        ]
    )
    invert = Invertd("pred", pre, orig_keys="image", nearest_interp=False)
    usual = [Activationsd("pred", softmax=True), invert, AsDiscreted("pred", argmax=True), Unchanged()]
    return Program(pre, inferer, network, Compose(usual if postprocessing is None else postprocessing), "image", "pred")


def test_streamed_program_answers_as_the_plain_one() -> None:
    inferer = SlidingWindowInferer((16, 16, 16), 2, 0.25)
    expected = _program(_network(), inferer)({"image": _image()})
    program = streamed(_program(_network(), inferer))
    assert isinstance(program.tail, Tail)
    answer = program({"image": _image()})
    assert answer.shape == expected.shape == (1, *_image().shape)
    assert len(expected.unique()) == 3
    assert (answer == expected).float().mean() >= 0.9999
    assert answer.dtype == torch.uint8  # nothing follows the argmax: no floats of the size of the source


def test_network_on_a_coarser_grid_is_run_by_monai() -> None:
    inferer = SlidingWindowInferer((16, 16, 16), 2, 0.0)
    post = [AsDiscreted("pred", argmax=True)]
    expected = _program(_Halved(), inferer, postprocessing=post)({"image": _image()})
    program = streamed(_program(_Halved(), inferer, postprocessing=post))
    assert isinstance(program.tail, Tail)
    assert torch.equal(program({"image": _image()}), expected)


def test_chain_that_is_not_recognised_still_resamples_axis_by_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    inferer = SimpleInferer()
    network = nn.Conv3d(1, 2, 1)
    expected = _program(network, inferer)({"image": _image()})
    program = streamed(_program(network, inferer))
    assert program.tail is None
    monkeypatch.setattr("monai.transforms.spatial.functional.AffineTransform", None)
    assert (program({"image": _image()}) == expected).float().mean() >= 0.9999


def test_air_is_skipped_where_the_bundle_allows_it() -> None:
    class Counting(nn.Module):
        windows = 0

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            self.windows += len(windows)
            return torch.cat([0.5 - windows, windows - 0.5], dim=1)

    image = _image()
    image[:, :, : image.shape[2] * 3 // 4] = 0  # which stays the same number when it is resampled
    answers, counted = [], []
    for skip_air in (False, True):
        network = Counting()
        program = streamed(_program(network, SlidingWindowInferer((16, 16, 8), 2, 0.25)), skip_air=skip_air)
        answers.append(program({"image": image}))
        counted.append(network.windows)
    assert torch.equal(*answers)
    assert answers[0].float().mean() > 0.01
    assert counted[1] < counted[0]


def test_stacked_series_stream_too() -> None:
    image = _image()
    stacked = MetaTensor(torch.stack([image.as_tensor(), image.as_tensor() ** 2]), affine=image.affine)
    torch.manual_seed(9)
    network = nn.Conv3d(2, 3, 3, padding=1)
    program = _program(network, SlidingWindowInferer((16, 16, 16), 2, 0.25))
    without_reader = replace(program, preprocessing=Compose(program.preprocessing.transforms[1:]))
    program = streamed(without_reader)
    answer = program({"image": stacked})
    expected = replace(program, tail=None)({"image": stacked})
    assert answer.shape == (1, *image.shape)
    assert np.mean((answer == expected).numpy()) >= 0.9999
