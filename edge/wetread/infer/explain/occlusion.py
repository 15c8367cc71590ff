"""Occlusion (Zeiler and Fergus 2014): how far the score falls when a place is covered. Asks nothing but answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wetread.infer.program import Program

_SHARE = 5
"""A cover is a fifth of the image's side,"""
_STEPS = 10
"""and moves in so many steps along each side: 100 answers."""
_LEAST = 0.01
"""Of a score from 0 to 1: a smaller fall is none, or the map of a score near 0 would show rounding errors."""


def occlusion(program: Program, prepared: Tensor, index: int) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Mean fall of score ``index``, after postprocessing, over the covers on each pixel of ``prepared`` ``(1, row,
    column)``; 0 where it rises. Works with every engine.

    A cover has the image's mean. The answers come one by one: engines are built for one image at a time.
    """
    whole = _score(program, prepared, index)
    fall, covers = np.zeros(prepared.shape[1:], np.float32), np.zeros(prepared.shape[1:], np.float32)
    mean = torch.as_tensor(prepared).mean()
    for place in _places(fall.shape):
        covered = prepared.clone()
        covered[(slice(None), *place)] = mean
        fall[place] += whole - _score(program, covered, index)
        covers[place] += 1
    fall /= covers
    fall[fall < _LEAST] = 0.0
    side = f"{_side(fall.shape[0])} × {_side(fall.shape[1])}"
    return fall, (f"cover: {side} of {fall.shape[0]} × {fall.shape[1]} pixels, their mean",)


def _score(program: Program, prepared: Tensor, index: int) -> float:
    with torch.inference_mode():
        return float(program.finished({program.input_key: prepared}).reshape(-1)[index])


def _places(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Every pixel lies under at least one cover."""
    rows, columns = ([slice(start, start + _side(size)) for start in _starts(size)] for size in shape)
    for row in rows:
        for column in columns:
            yield row, column


def _side(size: int) -> int:
    return max(1, round(size / _SHARE))


def _starts(size: int) -> list[int]:
    last = size - _side(size)
    return sorted({round(step * last / (_STEPS - 1)) for step in range(_STEPS)})
