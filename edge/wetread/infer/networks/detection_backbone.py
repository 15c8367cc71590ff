"""Two small pieces that MONAI's RetinaNet takes from torchvision, for machines without it."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

from monai.apps.detection.networks import retinanet_network
from monai.networks.blocks import backbone_fpn_utils
from torch import Tensor, nn


class LayerGetter(nn.ModuleDict):
    """The layers of a backbone up to the last one wanted, run in a row; answers with the wanted ones by name.

    Children keep the backbone's names, so weights saved with torchvision's ``IntermediateLayerGetter`` fit.
    """

    def __init__(self, backbone: nn.Module, return_layers: Mapping[str, str]) -> None:
        missing = set(return_layers) - {name for name, _ in backbone.named_children()}
        if missing:
            raise ValueError(f"the backbone has no layer {sorted(missing)}")
        layers = {}
        wanted = set(return_layers)
        for name, layer in backbone.named_children():
            layers[name] = layer
            wanted.discard(name)
            if not wanted:
                break
        super().__init__(layers)
        self.return_layers = dict(return_layers)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Feature maps by the names in ``return_layers``."""
        maps = {}
        for name, layer in self.items():
            x = layer(x)
            if name in self.return_layers:
                maps[self.return_layers[name]] = x
        return maps


def trainable_layers(is_trained: bool, wanted: int | None, max_value: int, default_value: int) -> int:
    """How many layers of the backbone may be trained; of no importance here, where nothing is trained."""
    if not is_trained:
        return max_value
    return default_value if wanted is None else wanted


def stand_in_for_torchvision() -> None:
    """Give MONAI's modules these pieces, where they hold placeholders for a missing torchvision."""
    backbone_fpn_utils.torchvision_models = SimpleNamespace(_utils=SimpleNamespace(IntermediateLayerGetter=LayerGetter))
    retinanet_network._validate_trainable_layers = trainable_layers
