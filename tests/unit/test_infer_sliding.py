"""The streamed sliding window against MONAI's own: the same sums, in a part of the memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.inferers import SlidingWindowInferer, SlidingWindowInfererAdapt
from monai.networks.nets import UNet
from torch import Tensor, nn

from wetread.infer.windows import sliding
from wetread.infer.windows.cells import Cells, Sums
from wetread.infer.windows.sliding import OtherGrid, can_stream, stream, window_grid

ROI = (32, 16, 24)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(21)
    return UNet(spatial_dims=3, in_channels=1, out_channels=5, channels=(4, 8), strides=(2,)).eval()


def _streamed(inferer: SlidingWindowInferer, image: Tensor, network: nn.Module) -> Tensor:
    """The boxes put together; a box on top of another, or a hole, shows."""
    whole = torch.full((5, *image.shape[1:]), torch.nan)
    for box, answer in stream(inferer, image, network):
        assert whole[(slice(None), *box)].isnan().all()
        whole[(slice(None), *box)] = answer
    return whole


def _image(*shape: int) -> Tensor:
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("shape", [(40, 37, 33), (20, 45, 41), (32, 16, 24)])
@pytest.mark.parametrize("overlap", [0.25, 0.625, (0.0, 0.5, 0.1)])
@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("plenty_mb", [0, 256])
def test_streamed_windows_add_up_to_the_very_numbers_of_monai(
    shape: tuple[int, ...], overlap: Any, mode: str, plenty_mb: int, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sliding, "_PLENTY_MB", plenty_mb)
    inferer = SlidingWindowInferer(ROI, 3, overlap, mode=mode)
    image = _image(*shape)
    with torch.inference_mode():
        answer, expected = _streamed(inferer, image, network), inferer(image[None], network)[0]
    if plenty_mb:
        assert torch.equal(answer, expected)
    else:  # three and more windows are added up in another order
        torch.testing.assert_close(answer, expected, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "more",
    [
        {"padding_mode": "replicate"},
        {"cval": -3.0},
        {"mode": "gaussian", "sigma_scale": 0.3, "cache_roi_weight_map": True},
        {"buffer_steps": 2, "buffer_dim": 1},
        {"roi_size": (-1, 16, 24)},
        {"roi_size": 24},
    ],
)
def test_other_settings_of_the_inferer_are_kept(more: dict[str, Any], network: nn.Module) -> None:
    inferer = SlidingWindowInferer(**{"roi_size": ROI, "sw_batch_size": 2, "overlap": 0.5, **more})
    image = _image(20, 48, 42)
    with torch.inference_mode():
        expected = inferer(image[None], network)[0]
        # With buffers MONAI adds in another order.
        torch.testing.assert_close(_streamed(inferer, image, network), expected, atol=1e-6, rtol=1e-6)


def test_two_dimensions_stream_too() -> None:
    torch.manual_seed(2)
    network = UNet(spatial_dims=2, in_channels=1, out_channels=5, channels=(4, 8), strides=(2,)).eval()
    inferer = SlidingWindowInferer((16, 24), 4, 0.5, mode="gaussian")
    image = _image(37, 50)
    with torch.inference_mode():
        assert torch.equal(_streamed(inferer, image, network), inferer(image[None], network)[0])


@pytest.mark.parametrize("axes", [1, 3])
def test_cells_that_are_complete_are_forgotten(axes: int) -> None:
    """A long volume needs no more than a short one: what is kept is one window and the overlap with the next."""
    inferer = SlidingWindowInferer((16, 16, 16), 1, 0.25)
    grids = [window_grid(inferer, (length, 16, 16)) for length in (40, 88, 400)]
    kept = [Cells(grid, axes=axes).most_voxels_begun() for grid in grids]
    assert kept[0] == kept[1] == kept[2] <= 16**3


def test_window_that_was_shifted_back_follows_the_one_it_overlaps() -> None:
    """105 classes at 1.5 mm: in MONAI's order, what the last two layers of windows share would wait."""
    grid = window_grid(SlidingWindowInferer((96, 96, 96), 1, 0.25), (256, 256, 267))
    in_monais_order, together = Cells(grid, axes=3), Cells(sliding.neighbours_together(grid), axes=3)
    assert set(map(str, together.grid.windows)) == set(map(str, grid.windows))
    assert together.most_voxels_begun() < 0.55 * in_monais_order.most_voxels_begun()
    assert together.most_voxels_held() * 105 * 4 / 2**20 < 1200


@pytest.mark.parametrize("plenty_mb", [0, 256])
def test_sums_in_memory_stay_within_the_prediction(
    plenty_mb: int, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    add = Sums.add

    def watched(self: Sums, window: Any, answer: Tensor) -> Any:
        for given in add(self, window, answer):
            seen.append(self.voxels)
            yield given
        seen.append(self.voxels)

    monkeypatch.setattr(Sums, "add", watched)
    monkeypatch.setattr(sliding, "_PLENTY_MB", plenty_mb)
    inferer = SlidingWindowInferer(ROI, 3, 0.5)
    image = _image(70, 60, 50)
    with torch.inference_mode():
        _streamed(inferer, image, network)
    predicted = sliding.planned(window_grid(inferer, (70, 60, 50)), 5).most_voxels_begun()
    assert 0.95 * predicted <= max(seen) <= predicted <= 70 * 60 * 50
    assert seen[-1] == 0


def test_network_that_answers_on_another_grid_is_told_before_any_answer() -> None:
    inferer = SlidingWindowInferer((16, 16, 16), 1, 0.25)
    with pytest.raises(OtherGrid):
        next(stream(inferer, _image(20, 20, 20), nn.MaxPool3d(2)))


def test_only_the_plain_inferer_streams() -> None:
    assert can_stream(SlidingWindowInferer(16))
    assert not can_stream(SlidingWindowInfererAdapt(16))
    assert not can_stream(SlidingWindowInferer(16, with_coord=True))
