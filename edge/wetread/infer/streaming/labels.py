"""Which class is largest, for boxes as they come from the sliding window, with and without resampling in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wetread.infer.streaming.axes import resampled_planes
from wetread.infer.streaming.invert import WayBack
from wetread.infer.windows.cells import Box

Boxes = Iterator[tuple[Box, Tensor]]
"""Boxes that fill a volume without overlap, each with its scores ``(class, *box)``.

A single score stands for two classes: by how much the second is ahead of the first.
"""
_PLANES = 16
"""Resampled at once: enough for vector instructions, few enough for the cache."""


def largest(boxes: Boxes, shape: tuple[int, ...]) -> Tensor:
    """Which class has the largest score at each voxel, ``shape``; of equal ones the first, as argmax has it."""
    labels = torch.zeros(shape, dtype=torch.uint8)
    for box, scores in boxes:
        labels = _wide_enough(labels, len(scores))
        labels[box] = _argmax(iter(scores), len(scores), labels.dtype).cpu()
    return labels


def largest_after(boxes: Boxes, shape: tuple[int, ...], back: WayBack) -> Tensor:
    """The same on the oriented grid: scores are resampled, one class at a time, as soon as a layer of them is there.

    ``shape``: of the volume that the boxes fill.
    """
    labels = torch.zeros(tuple(map(len, back.maps)), dtype=torch.uint8)
    last_needed = back.maps[0].high
    for layer in _layers(boxes, shape):
        labels = _wide_enough(labels, len(layer.scores))
        maps = tuple(axis_map.to(layer.scores.device) for axis_map in back.maps)
        planes = torch.nonzero((last_needed >= layer.start) & (last_needed < layer.stop)).flatten()
        for some in planes.split(_PLANES):
            resampled = (resampled_planes(s, maps, some, offset=layer.start - 1) for s in layer.scores)
            labels[some] = _argmax(resampled, len(layer.scores), labels.dtype).cpu()
    return labels


@dataclass(slots=True)
class _Layer:
    """All planes between two cuts along the first axis, with the plane before them for interpolation."""

    start: int
    stop: int
    scores: Tensor
    """``(class, 1 + stop - start, ...)``"""
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = self.scores[0, 1:].numel()

    def put(self, box: Box, scores: Tensor) -> None:
        self.scores[(slice(None), slice(1, None), *box[1:])] = scores
        self.missing -= scores[0].numel()


def _layers(boxes: Boxes, shape: tuple[int, ...]) -> Iterator[_Layer]:
    """The layers, from the first plane on, each when all its boxes have come."""
    begun: dict[int, _Layer] = {}
    following, edge = 0, None
    for box, scores in boxes:
        start, stop = box[0].start, box[0].stop
        if start not in begun:
            begun[start] = _Layer(start, stop, scores.new_zeros((len(scores), 1 + stop - start, *shape[1:])))
        begun[start].put(box, scores)
        while following in begun and not begun[following].missing:
            layer = begun.pop(following)
            if edge is not None:
                layer.scores[:, 0] = edge
            following, edge = layer.stop, layer.scores[:, -1].clone()
            yield layer


def _argmax(scores: Iterator[Tensor], count: int, dtype: torch.dtype) -> Tensor:
    if count == 1:
        return (next(scores) > 0).to(dtype)
    best = next(scores).clone()
    labels = torch.zeros(best.shape, dtype=dtype, device=best.device)
    for number, score in enumerate(scores, start=1):
        labels.masked_fill_(score > best, number)
        torch.maximum(best, score, out=best)
    return labels


def _wide_enough(labels: Tensor, classes: int) -> Tensor:
    return labels if classes <= 256 or labels.dtype is torch.int16 else labels.to(torch.int16)
