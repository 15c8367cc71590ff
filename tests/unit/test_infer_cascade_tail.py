"""A cascade computed for its mask only gives the voxels that its transforms give one after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from monai.transforms import Compose, Invertd, Orientationd
from torch import Tensor, nn
from torch.nn import functional

from wetread.errors import ImageUnusable, OutputInvalid
from wetread.infer.configs.in_memory import InMemoryd, Unchanged
from wetread.infer.geometry import to_meta_tensor
from wetread.infer.networks import cascade
from wetread.infer.networks.cascade import CascadeInferer
from wetread.infer.networks.cascade_tail import CascadeTail, masked
from wetread.infer.networks.components import SolidComponentd, largest_component, without_holes
from wetread.infer.networks.enlarged import normalised, picked
from wetread.infer.networks.runs import filled_by_runs, largest_of_runs
from wetread.infer.program import Program
from wetread.records.study import SeriesRef
from wetread.records.volume import Volume

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))
SHAPES = [(20, 17, 30), (64, 64, 64), (65, 20, 200), (200, 90, 64), (70, 71, 31)]


@settings(deadline=None, max_examples=300)
@given(MASKS)
def test_components_by_runs_are_those_of_scipy(mask: np.ndarray) -> None:  # type: ignore[type-arg]
    before = mask.copy()
    np.testing.assert_array_equal(largest_of_runs(mask), largest_component(mask))
    np.testing.assert_array_equal(filled_by_runs(mask), without_holes(mask))
    np.testing.assert_array_equal(mask, before)


def test_components_by_runs_of_a_mask_full_of_holes_and_specks_are_those_of_scipy() -> None:
    mask = np.random.default_rng(4).random((40, 50, 60)) < 0.25
    mask[5:30, 5:30, 5:30] = np.random.default_rng(5).random((25, 25, 25)) < 0.8
    np.testing.assert_array_equal(largest_of_runs(mask), largest_component(mask))
    np.testing.assert_array_equal(filled_by_runs(mask), without_holes(mask))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [torch.float32, torch.uint8])
def test_nearest_voxels_are_those_that_torch_picks(shape: tuple[int, int, int], kind: torch.dtype) -> None:
    image = (torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(2)) * 250).to(kind)
    wanted = (64, 33, 50)
    expected = functional.interpolate(image, wanted, mode="nearest-exact")
    np.testing.assert_array_equal(picked(image[0, 0].numpy(), wanted), expected[0, 0].numpy())


@pytest.mark.parametrize("shape", SHAPES)
def test_normalised_image_is_the_one_of_the_cascade(shape: tuple[int, int, int]) -> None:
    image = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(3)) * 100
    image[0, 0, 3, 4, 5] = float("nan")
    expected = cascade._normalised(torch.nan_to_num(image), (20.0, 90.0), (64, 64, 64))[0, 0]
    out = np.empty((64, 64, 64), np.float32)
    turned = np.asfortranarray(image[0, 0].numpy())  # as a view of a volume in another order
    answer = normalised(turned, (20.0, 90.0), (64, 64, 64), out=out)
    assert answer is out
    np.testing.assert_allclose(answer, expected.numpy(), atol=2e-7, rtol=0)


class _Bright(nn.Module):
    """Foreground is what is brighter than the mean; asked for masks as an engine is."""

    asked = 0

    def forward(self, image: Tensor) -> Tensor:
        foreground = torch.sigmoid((image - 0.45) * 4)
        return torch.cat([1 - foreground, foreground], dim=1)

    def masks(self, image: Tensor) -> Tensor:
        self.asked += 1
        answer = self(image)
        return (answer[:, 1:] > answer[:, :1]).to(torch.uint8)


class _Dark(_Bright):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image * 0)


def _volume(shape: tuple[int, int, int], turn: Any) -> Volume:
    """A bright box with a cavity in noise, off-centre, and far from it a small bright speck."""
    random = np.random.default_rng(7)
    array = random.random(shape, np.float32) * 3
    body = tuple(slice(n // 5, n // 5 * 3) for n in shape)
    array[body] += random.random(array[body].shape, np.float32) * 4 + 5
    array[tuple(slice(n // 3, n // 3 + 4) for n in shape)] = 0
    array[-4:-1, -4:-1, 1:4] = 10
    affine = np.eye(4)
    affine[:3, :3] = turn
    affine[:3, 3] = (-31.0, 12.0, 5.0)
    return Volume(array, affine, SeriesRef("1.2.3", "MR", ()), (), "1.2.4")


def _program(*, threshold: float = 0.5, inferer: type[CascadeInferer] = CascadeInferer) -> Program:
    pre = Compose([InMemoryd("image", ensure_channel_first=True), Orientationd("image", axcodes="RAS", labels=None)])
    post = [
        SolidComponentd("pred", threshold=threshold),
        Invertd("pred", pre, orig_keys="image", nearest_interp=True),
        Unchanged(),
    ]
    made = inferer(_Bright(), box_shape=(32, 32, 32), fine_shape=(64, 64, 64))
    return Program(pre, made, _Bright(), Compose(post), "image", "pred")


OBLIQUE = [[0.0, -0.28, -0.96], [0.0, 0.96, -0.28], [1.5, 0.0, 0.0]]


@pytest.mark.parametrize("turn", [OBLIQUE, np.eye(3)[::-1] * 1.2, -np.eye(3)[[1, 0, 2]]])
@pytest.mark.parametrize("shape", [(45, 61, 52), (90, 30, 77), (100, 110, 130)])
def test_mask_is_the_one_of_the_transforms_on_the_source_grid(shape: tuple[int, int, int], turn: Any) -> None:
    program = masked(_program())
    assert isinstance(program.tail, CascadeTail)
    image = to_meta_tensor(_volume(shape, turn))
    expected = replace(program, tail=None)({"image": image.clone()})
    for _ in range(2):  # the second time in memory that is kept
        answer = program({"image": image.clone()})
        assert answer.dtype == torch.uint8
        assert torch.equal(answer, expected)
        np.testing.assert_allclose(answer.affine, expected.affine)  # type: ignore[attr-defined]
    assert 0.05 < float(expected.float().mean()) < 0.5
    assert program.network.asked == 2  # type: ignore[attr-defined]


def test_values_that_are_no_numbers_count_as_zero() -> None:
    program = masked(_program())
    image = to_meta_tensor(_volume((45, 61, 52), OBLIQUE))
    holes = image.clone()
    holes[20, 30, 20] = float("nan")
    image[20, 30, 20] = 0
    assert torch.equal(program({"image": holes}), program({"image": image}))


def test_image_without_contrast_and_head_without_brain_are_refused() -> None:
    program = masked(_program())
    volume = _volume((45, 61, 52), OBLIQUE)
    with pytest.raises(ImageUnusable, match=r"no contrast.*at most 3"):
        program({"image": to_meta_tensor(replace(volume, array=np.full_like(volume.array, 3)))})
    program.tail.cascade.box_network = _Dark()  # type: ignore[union-attr]
    with pytest.raises(OutputInvalid, match="no brain found"):
        program({"image": to_meta_tensor(volume)})


class _Own(CascadeInferer):
    """May do anything."""


@pytest.mark.parametrize("program", [_program(threshold=0.4), _program(inferer=_Own)])
def test_cascade_of_another_kind_is_left_to_its_transforms(program: Program) -> None:
    assert masked(program).tail is None


def test_networks_that_give_no_masks_are_left_to_the_transforms() -> None:
    assert masked(replace(_program(), network=nn.Identity())).tail is None
