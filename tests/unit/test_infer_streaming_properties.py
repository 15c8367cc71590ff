"""Streaming against MONAI's own sliding window and inversion, on volumes of any size, place and orientation.

Odd sizes, volumes smaller than a window, single slices, anisotropic voxels, mirrored, turned and oblique grids.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    CropForegroundd,
    Invertd,
    Orientationd,
    Spacingd,
)
from monai.utils.enums import MetaKeys
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from wetread.infer.configs.in_memory import InMemoryd
from wetread.infer.program import Program
from wetread.infer.streaming.tail import streamed
from wetread.infer.windows import sliding
from wetread.infer.windows.sliding import stream

SIDES = st.integers(1, 17)
OVERLAPS = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.625])
_TIE = 2e-5
"""Two classes whose probabilities differ by less may change places: sums round in another order."""


class _Borders(nn.Module):
    """Answers that depend on where a voxel lies in its window, and are not the same for any two classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        torch.manual_seed(13)
        self.first = nn.Conv3d(channels, 4, 3, padding=1)
        self.last = nn.Conv3d(4, classes, 3, padding=1)

    def forward(self, windows: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(windows))) * 3


@st.composite
def _inferers(draw: st.DrawFn) -> SlidingWindowInferer:
    return SlidingWindowInferer(
        roi_size=draw(st.tuples(*[st.integers(6, 12)] * 3) | st.integers(6, 12)),
        sw_batch_size=draw(st.integers(1, 4)),
        overlap=draw(OVERLAPS | st.tuples(OVERLAPS, OVERLAPS, OVERLAPS)),
        mode=draw(st.sampled_from(["constant", "gaussian"])),
        cval=draw(st.sampled_from([0.0, -2.5])),
    )


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_boxes_fill_the_volume_once_with_the_numbers_of_monai(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(SIDES, SIDES, SIDES))
    channels, classes = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 4))
    inferer, network = data.draw(_inferers()), _Borders(channels, classes).eval()
    image, plenty_mb = _noise(channels, *shape), data.draw(st.sampled_from([0, 256]))
    kept, sliding._PLENTY_MB = sliding._PLENTY_MB, plenty_mb
    try:
        with torch.inference_mode():
            expected = inferer(image[None], network)[0]
            answer = torch.full((classes, *shape), torch.nan)
            for box, part in stream(inferer, image, network):
                assert answer[(slice(None), *box)].isnan().all()
                answer[(slice(None), *box)] = part
    finally:
        sliding._PLENTY_MB = kept
    torch.testing.assert_close(answer, expected, atol=2e-5, rtol=1e-5)


@st.composite
def _images(draw: st.DrawFn) -> MetaTensor:
    """``(column, row, slice)`` without a channel: smooth, with a border of nothing, anywhere and in any orientation."""
    sides = st.integers(2, 17) if draw(st.integers(0, 5)) else SIDES  # MONAI inverts what is one voxel wide
    shape = draw(st.tuples(sides, sides, sides))
    voxels = nn.functional.interpolate(_noise(1, 1, 5, 4, 6), shape, mode="trilinear")[0, 0]
    voxels[: shape[0] // 4] = 0
    axes = np.diag(draw(st.tuples(*[st.sampled_from([0.6, 0.75, 1.0, 1.5, 2.5, 4.0])] * 3)))
    signs = np.diag(draw(st.tuples(*[st.sampled_from([-1, 1])] * 3)))
    order = list(draw(st.sampled_from(list(permutations(range(3))))))
    turn = Rotation.from_euler("xyz", draw(st.sampled_from([(0, 0, 0), (0.2, -0.3, 0.25)]))).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ (signs @ axes)[:, order]
    affine[:3, 3] = draw(st.sampled_from([(0.0, 0.0, 0.0), (-31.0, 17.5, 4.25)]))
    # As readers give it; without the note on its channel MONAI takes the volume for a stack of two-dimensional images.
    return MetaTensor(voxels, affine=affine, meta={MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan")})


def _preprocessing(*, crop: bool) -> Compose:
    cropping = [CropForegroundd("image", source_key="image", select_fn=_not_nothing, margin=0)] if crop else []
    return Compose(
        [
            InMemoryd("image", ensure_channel_first=True),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(1.5, 1.0, 2.0), mode="bilinear"),
            *cropping,
        ]
    )


def _not_nothing(image: Tensor) -> Tensor:
    return image.abs() > 1e-3


def _program(order: str, classes: int, inferer: SlidingWindowInferer, *, crop: bool, argmax: bool = True) -> Program:
    preprocessing = _preprocessing(crop=crop)
    invert = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=order != "linear")
    largest = [AsDiscreted("pred", argmax=True)] if argmax else []
    steps = [invert, *largest] if order != "argmax first" or not argmax else [*largest, invert]
    postprocessing = Compose([Activationsd("pred", softmax=True), *steps])
    return Program(preprocessing, inferer, _Borders(1, classes).eval(), postprocessing, "image", "pred")


@pytest.mark.parametrize("order", ["linear", "nearest", "argmax first"])
@settings(deadline=None, max_examples=20)
@given(image=_images(), inferer=_inferers(), classes=st.integers(2, 4), crop=st.booleans())
def test_every_voxel_gets_the_class_that_is_largest_with_monai(
    order: str, image: MetaTensor, inferer: SlidingWindowInferer, classes: int, crop: bool
) -> None:
    scores = _program(order, classes, inferer, crop=crop, argmax=False)({"image": image.clone()})
    answer = streamed(_program(order, classes, inferer, crop=crop))({"image": image.clone()})
    assert answer.shape == (1, *image.shape)
    assert scores.shape == (classes, *image.shape)
    chosen = scores.gather(0, answer.long())
    assert float((scores.amax(0, keepdim=True) - chosen).max()) <= _TIE
    # What was cropped away is background; where the crop ends, a weight of nought may round to one of 1e-9.
    near = nn.functional.max_pool3d(scores.as_tensor().amax(0, keepdim=True), 3, stride=1, padding=1)
    assert not answer[near == 0].any()
    assert isinstance(answer, MetaTensor)
    np.testing.assert_allclose(answer.affine, image.affine, atol=1e-6)
