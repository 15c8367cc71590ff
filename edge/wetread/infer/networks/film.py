"""Networks for single films: a small residual CNN and a small vision transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import TransformerBlock
from monai.networks.nets import ResNet
from torch import Tensor, nn

_SMALLEST_DEVIATION = 1e-3
"""Of grey values 0 to 1: a film that is one grey stays that, instead of becoming noise."""


class Standardised(nn.Module):
    """Each image of a batch by itself to mean 0 and standard deviation 1: exposure and window say nothing any more."""

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channel, row, column)``, the same shape."""
        centred = x - x.mean((2, 3), keepdim=True)
        return centred / ((centred * centred).mean((2, 3), keepdim=True).sqrt() + _SMALLEST_DEVIATION)


class FilmCnn(nn.Module):
    """A residual network (He et al. 2015) of basic blocks, without the early pooling: made for small films.

    Input ``(batch, 1, row, column)``, grey values 0 to 1; output ``(batch, scores)`` logits.
    """

    def __init__(self, channels: Sequence[int], blocks: Sequence[int], scores: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.standardised = Standardised()
        self.features = ResNet(
            "basic",
            list(blocks),
            list(channels),
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_size=3,
            conv1_t_stride=1,
            no_max_pool=True,
            feed_forward=False,
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1], scores)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        features = self.features(self.standardised(x))
        answer: Tensor = self.head(self.dropout(features))
        return answer


class FilmTransformer(nn.Module):
    """A hybrid vision transformer (Dosovitskiy et al. 2021, 3.1): tokens are what a residual stem sees in patches.

    The stem is ``FilmCnn`` without its last stage, under the same names, so it can begin with that network's weights;
    every token stands for 4 × 4 pixels and their surroundings. A class token gathers the answer by self-attention; each
    of ``blocks`` is MONAI's ``TransformerBlock``, which can keep its attention for roll-out (``attn.save_attn``).
    Input ``(batch, 1, side, side)``, grey values 0 to 1; output ``(batch, scores)`` logits.
    """

    def __init__(
        self,
        side: int,
        stem_channels: Sequence[int],
        width: int,
        depth: int,
        heads: int,
        scores: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.standardised = Standardised()
        self.features = Stem(stem_channels)
        self.patches = nn.Linear(stem_channels[2], width)
        self.position = nn.Parameter(torch.zeros(1, ((side + 3) // 4) ** 2, width))
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, 2 * width, heads, dropout_rate=dropout, qkv_bias=True) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, scores)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        patches = self.features(self.standardised(x)).flatten(2).transpose(1, 2)
        tokens = self.patches(patches) + self.position
        tokens = torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        answer: Tensor = self.head(self.norm(tokens)[:, 0])
        return answer


class Stem(ResNet):
    """The first three stages of ``FilmCnn``'s residual network: ``(batch, channel, row / 4, column / 4)``."""

    def __init__(self, channels: Sequence[int]) -> None:
        first, second, third = channels
        super().__init__(
            "basic",
            [1, 1, 1, 1],
            [first, second, third, 1],
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_size=3,
            conv1_t_stride=1,
            no_max_pool=True,
            feed_forward=False,
        )
        del self.layer4

    def forward(self, x: Tensor) -> Tensor:
        """Features of the third stage."""
        features: Tensor = self.layer3(self.layer2(self.layer1(self.act(self.bn1(self.conv1(x))))))
        return features


class Averaged(nn.Module):
    """Several networks on the same film; the answer is the mean of what each says, calibrated by itself.

    Input as that of each network; output ``(batch, scores)`` logits: the mean of ``logit / temperature + offset``.
    """

    def __init__(self, networks: Sequence[nn.Module], temperatures: Sequence[float], offsets: Sequence[float]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.temperatures, self.offsets = tuple(temperatures), tuple(offsets)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        scales = zip(self.networks, self.temperatures, self.offsets, strict=True)
        return torch.stack([network(x) / temperature + offset for network, temperature, offset in scales]).mean(0)
