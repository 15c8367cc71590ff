"""Windows of air are answered once, with the same voxels; and not at all where the network sees something in them."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from torch import Tensor, nn

from wetread.infer.windows.air import AirSkipping

INFERER = SlidingWindowInferer((16, 16, 16), 3, 0.25, mode="gaussian")


class Counting(nn.Module):
    """A random network, batch after batch; ``background`` decides what it sees in air."""

    def __init__(self, *, background: float) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.network = UNet(spatial_dims=3, in_channels=1, out_channels=3, channels=(4, 8), strides=(2,)).eval()
        self.background = torch.tensor([background, 0.0, 0.0]).reshape(3, 1, 1, 1)
        self.windows = 0

    def forward(self, windows: Tensor) -> Tensor:
        self.windows += len(windows)
        return self.network(windows) + self.background


def _body(air: float) -> Tensor:
    image = torch.full((1, 60, 30, 30), air)
    image[:, 30:45, 10:20, 10:20] += torch.rand((15, 10, 10), generator=torch.Generator().manual_seed(6))
    return image


@pytest.mark.parametrize("air", [0.0, -1.0])
def test_windows_of_air_cost_one_answer_and_change_no_voxel(air: float) -> None:
    network, image, skipping = Counting(background=5.0), _body(air), AirSkipping()
    with torch.inference_mode():
        expected = INFERER(image[None], network)
        all_windows, network.windows = network.windows, 0
        answer = INFERER(image[None], skipping.around(network, image))
    torch.testing.assert_close(answer, expected, atol=1e-5, rtol=0)
    assert torch.equal(answer.argmax(1), expected.argmax(1))
    assert network.windows == all_windows - skipping.skipped + 1 < all_windows
    assert skipping.refused == ""


def test_air_of_another_value_is_asked_for_anew() -> None:
    network, skipping = Counting(background=5.0), AirSkipping()
    with torch.inference_mode():
        for air in (0.0, -1.0):
            image = _body(air)
            answer = INFERER(image[None], skipping.around(network, image))
            torch.testing.assert_close(answer, INFERER(image[None], network), atol=1e-5, rtol=0)


def test_network_that_sees_something_in_air_is_asked_for_every_window(caplog: pytest.LogCaptureFixture) -> None:
    network, image, skipping = Counting(background=-5.0), _body(0.0), AirSkipping()
    with torch.inference_mode():
        expected = INFERER(image[None], network)
        answer = INFERER(image[None], skipping.around(network, image))
    assert torch.equal(answer, expected)
    assert skipping.skipped == 0
    assert skipping.refused.startswith("windows of air are computed")
    assert caplog.messages == [skipping.refused]


def test_noise_is_not_air() -> None:
    network, skipping = Counting(background=5.0), AirSkipping()
    image = _body(0.0) + torch.rand((1, 60, 30, 30), generator=torch.Generator().manual_seed(7)) * 1e-3
    with torch.inference_mode():
        INFERER(image[None], skipping.around(network, image))
    assert skipping.skipped == 0
