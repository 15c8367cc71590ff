"""Attention rollout (Abnar and Zuidema 2020): how much of each patch reaches the class token through all blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from monai.networks.blocks.selfattention import SABlock
from torch import Tensor, nn

from wetread.errors import BundleInvalid


def rollout(network: nn.Module, image: Tensor) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Of the class token, the first; brought to the pixels of ``image`` ``(1, 1, row, column)``.

    It says what was looked at, not for or against which score: the same map for each of them.
    Raises: ``BundleInvalid`` for a network without MONAI's self-attention, or whose tokens are no grid.
    """
    blocks = [module for module in network.modules() if isinstance(module, SABlock)]
    if not blocks:
        raise BundleInvalid("explain.method is rollout, the network has no self-attention of MONAI (SABlock)")
    for block in blocks:
        block.save_attn, block.use_flash_attention = True, False
    with torch.inference_mode():
        network(image)
    reached = _product([block.att_mat[0] for block in blocks])
    rows, columns = _grid(reached.shape[0] - 1, image)
    planes = reached[0, 1:].reshape(1, 1, rows, columns)
    planes = planes - planes.min()  # every token gives something: what is common to all says nothing
    found = nn.functional.interpolate(planes, image.shape[2:], mode="bilinear", align_corners=False)
    return found[0, 0].numpy(), (f"blocks: {len(blocks)}", "heads: mean", "residual: 0.5")


def _product(attention: list[Tensor]) -> Tensor:
    """``(head, token, token)`` of each block → ``(token, token)``: what each token at the end holds of those at the
    beginning; half of each goes past the attention."""
    reached = torch.eye(attention[0].shape[-1])
    for block in attention:
        mixed = 0.5 * block.mean(0) + 0.5 * torch.eye(block.shape[-1])
        reached = mixed / mixed.sum(-1, keepdim=True) @ reached
    return reached


def _grid(tokens: int, image: Tensor) -> tuple[int, int]:
    """Rows and columns of the patches, in the shape of the image."""
    height, width = image.shape[2:]
    rows = round((tokens * height / width) ** 0.5)
    if not rows or tokens % rows:
        raise BundleInvalid(f"explain.method is rollout, the {tokens} tokens of the network are no grid of patches")
    return rows, tokens // rows
