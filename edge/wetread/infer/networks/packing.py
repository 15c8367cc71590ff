"""A detector's many maps as the one tensor that engines answer with."""

from __future__ import annotations

import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet
from torch import Tensor, nn


class PackedNetwork(nn.Module):
    """A RetinaNet that answers with all its maps in one tensor ``(batch, values, 1, ...)``, as engines want it."""

    def __init__(self, network: RetinaNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Every map flattened, class maps first, then box maps."""
        maps = self.network(x)
        ordered = maps if isinstance(maps, (list, tuple)) else [m for level in maps.values() for m in level]
        packed = torch.cat([m.flatten(1) for m in ordered], dim=1)
        return packed.reshape(packed.shape[0], packed.shape[1], *[1] * (x.ndim - 2))


def packed(network: nn.Module) -> nn.Module:
    """The network as engines want it; only a RetinaNet needs to be packed."""
    return PackedNetwork(network).eval() if isinstance(network, RetinaNet) else network
