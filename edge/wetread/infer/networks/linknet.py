"""LinkNet for volumes: the network of both stages of brain extraction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGE_CHANNELS = (16, 32, 64, 128)
"""Channels after each encoder stage; every stage but the first halves the grid."""


class LinkNet3d(nn.Module):
    """Encoder–decoder with additive skip connections (Chaurasia and Culurciello 2017), in three dimensions.

    The encoder is a ResNet-18 without its last pooling. Norms are instance norms without parameters, so the answer for
    one image does not depend on the rest of the batch. Names of the parameters are those of the weights published with
    deepbet 1.0.2.

    Input ``(batch, 1, i, j, k)`` with every side a multiple of 32; output the same grid with the probabilities of
    background and foreground as two channels.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth = STAGE_CHANNELS
        self.init = nn.Sequential(*_conv(1, first, 7, stride=2), nn.MaxPool3d(3, stride=2, padding=1))
        self.down0 = Down(first, first, stride=1)
        self.down1 = Down(first, second, stride=2)
        self.down2 = Down(second, third, stride=2)
        self.down3 = Down(third, fourth, stride=2)
        self.up0 = Up(fourth, third, stride=2)
        self.up1 = Up(third, second, stride=2)
        self.up2 = Up(second, first, stride=2)
        self.up3 = Up(first, first, stride=1)
        half = first // 2
        self.tp_conv1 = nn.Sequential(*_transposed(first, half, stride=2, bias=True))
        self.conv = nn.Sequential(*_conv(half, half, 3, bias=True))
        self.tp_conv2 = nn.ConvTranspose3d(half, 2, kernel_size=2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of background and foreground, ``(batch, 2, i, j, k)``."""
        stem = self.init(x)
        down0 = self.down0(stem)
        down1 = self.down1(down0)
        down2 = self.down2(down1)
        x = self.up0(self.down3(down2)) + down2
        x = self.up1(x) + down1
        x = self.up2(x) + down0
        x = self.up3(x) + stem
        return torch.softmax(self.tp_conv2(self.conv(self.tp_conv1(x))), dim=1)


class Down(nn.Module):
    """One encoder stage: two residual blocks, the first with the stride."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.block1 = Residual(channels_in, channels_out, stride=stride)
        self.block2 = Residual(channels_out, channels_out, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both blocks."""
        return self.block2(self.block1(x))


class Residual(nn.Module):
    """Two 3×3×3 convolutions and a shortcut, projected where the shape changes (He et al. 2016, basic block)."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            *_conv(channels_in, channels_out, 3, stride=stride), *_conv(channels_out, channels_out, 3, relu=False)
        )
        same = stride == 1 and channels_in == channels_out
        self.downsample = (
            nn.Identity() if same else nn.Sequential(*_conv(channels_in, channels_out, 1, stride=stride, relu=False))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add the shortcut, then rectify."""
        return torch.relu(self.double_conv(x).add_(self.downsample(x)))


class Up(nn.Module):
    """One decoder stage: squeeze to a quarter of the channels, upsample, expand."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        narrow = channels_in // 4
        self.conv1 = nn.Sequential(*_conv(channels_in, narrow, 1))
        self.tp_conv = nn.Sequential(*_transposed(narrow, narrow, stride=stride))
        self.conv2 = nn.Sequential(*_conv(narrow, channels_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze, upsample, expand."""
        return self.conv2(self.tp_conv(self.conv1(x)))


def _conv(
    channels_in: int, channels_out: int, size: int, *, stride: int = 1, relu: bool = True, bias: bool = False
) -> list[nn.Module]:
    conv = nn.Conv3d(channels_in, channels_out, size, stride=stride, padding=size // 2, bias=bias)
    layers: list[nn.Module] = [conv, nn.InstanceNorm3d(channels_out)]
    return [*layers, nn.ReLU(inplace=True)] if relu else layers


def _transposed(channels_in: int, channels_out: int, *, stride: int, bias: bool = False) -> list[nn.Module]:
    conv = nn.ConvTranspose3d(
        channels_in, channels_out, 3, stride=stride, padding=1, output_padding=stride - 1, bias=bias
    )
    return [conv, nn.InstanceNorm3d(channels_out), nn.ReLU(inplace=True)]
