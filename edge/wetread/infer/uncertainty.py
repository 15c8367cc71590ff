"""Test-time augmentation (Wang et al. 2019): how far scores move when the image is changed a little.

The changes are made to what the network sees, as in training, where they cost next to nothing; the film itself may have
four million pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from wetread.bundles.manifest import Manifest, UncertaintyRule
from wetread.errors import BundleInvalid
from wetread.infer.adapters import to_images
from wetread.infer.program import Program, Runnable, network_input, plain
from wetread.infer.several import scores_of
from wetread.records.model_input import ModelInput
from wetread.records.spread import Spread

_PLANE = 2


def spreads(program: Runnable, manifest: Manifest, images: Mapping[str, ModelInput]) -> tuple[Spread, ...]:
    """One for each score rule of the manifest, in their order; none of a bundle without ``uncertainty``.

    Raises: ``BundleInvalid`` for a bundle whose network gets no single image.
    """
    rule = manifest.uncertainty
    if rule is None:
        return ()
    if not isinstance(program, Program):
        raise BundleInvalid("uncertainty: a bundle that is driven by its own evaluator is not asked twice")
    data = program.prepared(to_images(manifest, images))
    prepared = plain(network_input(data, program.input_key))
    if prepared.ndim != _PLANE + 1:
        raise BundleInvalid(
            f"uncertainty: preprocessing gives {tuple(prepared.shape)}, expected (channel, row, column)"
        )
    scores = scores_of(program, data, changed(prepared, rule))
    said = _parameters(rule)
    return tuple(Spread(tuple(scores[:, score.index].tolist()), said) for score in manifest.scores)


def changed(image: Tensor, rule: UncertaintyRule) -> Tensor:
    """Copies ``(copy, channel, row, column)`` of ``image`` ``(channel, row, column)``; always the same ones.

    What comes in at the border is the border's own value; no grey value leaves the image's range.
    """
    draw = torch.Generator().manual_seed(rule.seed)
    copies = image.to(torch.float32).expand(rule.times, *image.shape)
    low, high = copies.min(), copies.max()
    if low == high:
        return copies
    moved = _moved((copies - low) / (high - low), rule, draw).clamp(0.0, 1.0)
    exposed = moved ** _between(rule.gamma, rule, draw).exp() + _between(rule.brightness, rule, draw)
    return exposed.clamp(0.0, 1.0) * (high - low) + low


def _moved(copies: Tensor, rule: UncertaintyRule, draw: torch.Generator) -> Tensor:
    rows, columns = copies.shape[2:]
    angle = _between(math.radians(rule.rotation_degrees), rule, draw).flatten()
    scale = 1.0 + _between(rule.zoom, rule, draw).flatten()
    right, down = (2.0 * _between(rule.shift, rule, draw).flatten() for _ in range(_PLANE))
    # The grid runs from -1 to 1 along both sides, however long they are: the sine takes their ratio along.
    first = torch.stack([scale * angle.cos(), -scale * angle.sin() * rows / columns, right], 1)
    second = torch.stack([scale * angle.sin() * columns / rows, scale * angle.cos(), down], 1)
    grid = functional.affine_grid(torch.stack([first, second], 1), list(copies.shape), align_corners=False)
    # Bilinear sampling would blur, and so change what it should not.
    return functional.grid_sample(copies, grid, mode="bicubic", padding_mode="border", align_corners=False)


def _between(most: float, rule: UncertaintyRule, draw: torch.Generator) -> Tensor:
    """From ``-most`` to ``most``, ``(copy, 1, 1, 1)``."""
    return ((torch.rand(rule.times, generator=draw) * 2 - 1) * most).view(-1, 1, 1, 1)


def _parameters(rule: UncertaintyRule) -> tuple[str, ...]:
    changes = (
        ("rotation", rule.rotation_degrees, " degrees"),
        ("shift", rule.shift, " of the side"),
        ("zoom", rule.zoom, ""),
        ("brightness", rule.brightness, " of the range"),
        ("ln gamma", rule.gamma, ""),
    )
    most = ", ".join(f"{name} {value:g}{unit}" for name, value, unit in changes if value)
    return (f"uncertainty: {rule.times} changed copies (seed {rule.seed}), at most {most}",)
