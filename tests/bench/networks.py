"""The networks that benches measure: architectures of the Model Zoo and of this project, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from monai.networks.nets import UNETR, DenseNet121, DynUNet, SegResNet, SwinUNETR, UNet
from torch import nn

from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.wish import Precision
from wetread.infer.networks.linknet import LinkNet3d


class SliceRecurrent(nn.Module):
    """A CNN over the slices of a volume and a bidirectional GRU over its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(layer for a, b in ((1, 16), (16, 32), (32, 64)) for layer in self._stage(a, b)), nn.AdaptiveAvgPool2d(1)
        )
        self.slices = nn.GRU(64, 48, bidirectional=True, batch_first=True)
        self.head = nn.Linear(96, 2)

    @staticmethod
    def _stage(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
        conv = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1)
        return conv, nn.BatchNorm2d(channels_out), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, 1, slice, row, column)`` to two scores."""
        _, _, count, rows, columns = x.shape
        features = self.features(x.transpose(1, 2).reshape(-1, 1, rows, columns))
        states, _ = self.slices(features.reshape(-1, count, 64))
        return self.head(states.mean(1))


@dataclass(frozen=True, slots=True)
class Network:
    """One of them, with the shape it is asked in."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]

    def plan(self, folder: Path, *, precision: Precision = "f32", threads: int = 1) -> NetworkPlan:
        """What an engine is told."""
        return NetworkPlan(
            self.name, key=self.name, make=self._seeded, cache_folder=folder, precision=precision, threads=threads
        )

    def _seeded(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make().eval().requires_grad_(False)


def _unet() -> nn.Module:
    return UNet(3, 1, 2, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="batch")


def _segresnet() -> nn.Module:
    return SegResNet(init_filters=16, in_channels=4, out_channels=3, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1))


def _dynunet() -> nn.Module:
    return DynUNet(3, 1, 4, [3] * 6, [1, 2, 2, 2, 2, [2, 2, 1]], [2, 2, 2, 2, [2, 2, 1]], res_block=True)


def _unetr() -> nn.Module:
    return UNETR(1, 14, (96, 96, 96), feature_size=16, hidden_size=384, mlp_dim=1536, num_heads=6)


WINDOW = (1, 1, 96, 96, 96)
UNET = Network("UNet", _unet, WINDOW)
SEGRESNET = Network("SegResNet", _segresnet, (1, 4, 96, 96, 96))
SWIN = Network("SwinUNETR", lambda: SwinUNETR(in_channels=1, out_channels=14, feature_size=24), WINDOW)
DENSENET = Network("DenseNet121", lambda: DenseNet121(3, 1, 2), WINDOW)
LINKNET = Network("LinkNet 256³", LinkNet3d, (1, 1, 256, 256, 256))
DYNUNET = Network("DynUNet", _dynunet, WINDOW)
NETR = Network("UNETR", _unetr, WINDOW)
CRNN = Network("CNN + biGRU", SliceRecurrent, (1, 1, 24, 128, 128))

ON_THE_CPU = (UNET, SEGRESNET, SWIN, DENSENET, LINKNET)
AHEAD_OF_TIME = (UNET, SEGRESNET, DYNUNET, NETR, SWIN, DENSENET, CRNN)
