"""The cascade: where it looks, what it sees, and what it says when there is nothing to see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from torch import Tensor

from wetread.errors import ImageUnusable, OutputInvalid
from wetread.infer.networks import cascade
from wetread.infer.networks.cascade import CascadeInferer, box_with_margin, quantiles
from wetread.infer.networks.components import SolidComponentd, largest_component, without_holes

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))


def _bright(image: Tensor) -> Tensor:
    """A network that calls foreground what is brighter than the mean of the normalised image."""
    foreground = (image > 0.449).float()
    return torch.cat([1 - foreground, foreground], dim=1)


def _head(shape: tuple[int, int, int] = (60, 44, 52)) -> Tensor:
    """A bright box in noise, off-centre, and far from it a small bright speck."""
    image = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(0)) * 0.1
    image[..., 12:40, 8:32, 20:45] += 10
    image[..., 55:58, 40:43, 2:5] += 10
    return image


def _cascade(**more: object) -> CascadeInferer:
    return CascadeInferer(_bright, box_shape=(32, 32, 32), fine_shape=(64, 64, 64), **more)  # type: ignore[arg-type]


def test_cascade_answers_on_the_grid_it_was_asked_on_and_only_inside_the_box() -> None:
    image = _head()
    answer = _cascade()(image, _bright)
    assert answer.shape == image.shape
    assert answer.dtype == torch.float32
    found = ndimage.find_objects((answer[0, 0] > 0.5).numpy().astype(int))[0]
    for side, (low, high) in zip(found, ((12, 40), (8, 32), (20, 45)), strict=True):
        assert abs(side.start - low) <= 1
        assert abs(side.stop - high) <= 1


def test_fine_network_sees_the_box_with_its_margin_at_the_fine_shape() -> None:
    seen: list[Tensor] = []

    def fine(image: Tensor) -> Tensor:
        seen.append(image.clone())
        return _bright(image)

    _cascade()(_head(), fine)
    (image,) = seen
    assert image.shape == (1, 1, 64, 64, 64)
    assert float(image.mean()) == pytest.approx(0.449, abs=1e-5)
    assert float(image.std()) == pytest.approx(0.226, abs=1e-5)
    # Without a margin the outermost planes would be bright.
    assert float(image[..., 0, :, :].max()) < 0.449


def test_values_that_are_not_numbers_count_as_zero() -> None:
    image = _head()
    holes = image.clone()
    holes[..., 0, 0, 0] = float("nan")
    image[..., 0, 0, 0] = 0
    assert torch.equal(_cascade()(holes, _bright), _cascade()(image, _bright))


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=30), elements=st.floats(-1e4, 1e4, width=32)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_quantiles_are_those_of_torch(values: np.ndarray, shares: tuple[float, float]) -> None:  # type: ignore[type-arg]
    image = torch.from_numpy(values)
    assert quantiles(image, shares) == torch.quantile(image, torch.tensor(shares)).tolist()


@pytest.mark.parametrize("shape", [(20, 17, 30), (64, 64, 64), (65, 20, 200), (200, 90, 64)])
def test_image_enlarged_after_the_arithmetic_is_the_one_enlarged_before(shape: tuple[int, int, int]) -> None:
    image = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(3)) * 100
    fine = torch.nn.functional.interpolate(image, (64, 64, 64), mode="nearest-exact")
    fine = ((fine - 20) / (90 - 20)).clamp(0, 1)
    expected = (fine - fine.mean()) / fine.std() * 0.226 + 0.449
    answer = cascade._normalised(image.clone(), (20.0, 90.0), (64, 64, 64))
    torch.testing.assert_close(answer, expected, atol=1e-6, rtol=0)


def test_image_without_contrast_is_refused() -> None:
    with pytest.raises(ImageUnusable, match=r"no contrast.*at most 3"):
        _cascade()(torch.full((1, 1, 20, 20, 20), 3.0), _bright)


def test_head_without_a_brain_is_refused() -> None:
    cascade = CascadeInferer(lambda image: torch.cat([image * 0 + 1, image * 0], dim=1), box_shape=(16, 16, 16))
    with pytest.raises(OutputInvalid, match="no brain found"):
        cascade(_head(), _bright)


def test_cascade_takes_one_volume_only() -> None:
    with pytest.raises(ValueError, match=r"\(2, 1, 60, 44, 52\)"):
        _cascade()(torch.cat([_head(), _head()]), _bright)


def test_box_is_carried_to_the_fine_grid_with_its_margin() -> None:
    mask = np.zeros((128, 128, 128), bool)
    mask[20:60, 32:96, 10:120] = True
    # Twice the grid along the first axis: centre 80, size 80 × 1.2 = 96. Third: 65 ± 66 is cut off at both ends.
    assert box_with_margin(mask, (256, 128, 128), margin=0.1) == (slice(32, 128), slice(25, 102), slice(0, 128))


def test_thin_spur_does_not_widen_the_box() -> None:
    mask = np.zeros((64, 64, 64), bool)
    mask[16:48, 16:48, 16:48] = True
    plain = box_with_margin(mask, (64, 64, 64), margin=0.1)
    mask[48:60, 30:33, 30:33] = True
    assert box_with_margin(mask, (64, 64, 64), margin=0.1) == plain


def test_components_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    mask[4, 4, 4] = True
    assert np.argwhere(largest_component(mask)).tolist() == [[0, 0, 0], [1, 1, 1]]


@settings(deadline=None)
@given(MASKS)
def test_holes_are_filled_as_scipy_fills_them(mask: np.ndarray) -> None:  # type: ignore[type-arg]
    np.testing.assert_array_equal(without_holes(mask), ndimage.binary_fill_holes(mask))


@settings(deadline=None)
@given(MASKS)
def test_largest_component_is_connected_and_no_other_is_larger(mask: np.ndarray) -> None:  # type: ignore[type-arg]
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = [int((labels == k).sum()) for k in range(1, count + 1)]
    kept = largest_component(mask)
    assert not (kept & ~mask).any()
    assert int(kept.sum()) == max(sizes, default=0)
    assert ndimage.label(kept, np.ones((3, 3, 3)))[1] == min(count, 1)


def test_probability_becomes_one_solid_component() -> None:
    probability = torch.zeros(1, 12, 12, 12)
    probability[0, 2:9, 2:9, 2:9] = 0.9
    probability[0, 4:6, 4:6, 4:6] = 0.1
    probability[0, 11, 11, 11] = 1.0
    probability[0, 0, 0, 0] = 0.5
    solid = SolidComponentd("pred")({"pred": probability})["pred"]
    expected = torch.zeros(1, 12, 12, 12, dtype=torch.uint8)
    expected[0, 2:9, 2:9, 2:9] = 1
    assert solid.dtype == torch.uint8
    assert torch.equal(solid, expected)
