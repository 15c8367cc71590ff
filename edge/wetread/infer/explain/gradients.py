"""Grad-CAM (Selvaraju et al. 2017) and Grad-CAM++ (Chattopadhay et al. 2018), by MONAI."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from monai.visualize import GradCAM, GradCAMpp
from torch import Tensor, nn

from wetread.errors import BundleInvalid


def class_activation(
    network: nn.Module, image: Tensor, index: int, *, layer: str, plus_plus: bool
) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """What of ``layer`` raises logit ``index``, brought to the pixels of ``image`` ``(1, 1, row, column)``.

    Raises: ``BundleInvalid`` when the network has no such layer, or the layer gives no planes.
    """
    if layer not in dict(network.named_modules()):
        raise BundleInvalid(f"explain.layer of wetread.json is {layer!r}, which the network does not have")
    method = (GradCAMpp if plus_plus else GradCAM)(nn_module=network, target_layers=layer)
    with torch.enable_grad():
        asked = image.clone().requires_grad_(True)  # the weights ask for no gradient
        found = method.compute_map(asked, class_idx=index).detach()
    if found.ndim != image.ndim:
        raise BundleInvalid(f"explain.layer {layer!r} gives {tuple(found.shape)}, no planes that could be a map")
    planes = nn.functional.interpolate(found, image.shape[2:], mode="bilinear", align_corners=False)
    return planes[0, 0].numpy(), (f"layer: {layer}",)
