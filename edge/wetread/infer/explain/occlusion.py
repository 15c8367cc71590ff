"""Occlusion (Zeiler and Fergus 2014): how far the score falls when a place is covered. Asks nothing but answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from wetread.infer.program import Data, Program, network_input, plain
from wetread.infer.several import scores_of

_SHARE = 5
"""A cover is a fifth of the image's side,"""
_STEPS = 10
"""and moves in so many steps along each side: 100 answers."""
_LEAST = 0.01
"""Of a score from 0 to 1: a smaller fall is none, or the map of a score near 0 would show rounding errors."""

_Place = tuple[slice, slice]


def occlusion(
    program: Program, data: Data, indices: Sequence[int]
) -> list[tuple[npt.NDArray[np.float32], tuple[str, ...]]]:
    """For each of ``indices`` the mean fall of that score, after postprocessing, over the covers on each pixel of the
    network's input ``(1, row, column)``; 0 where it rises. Works with every engine.

    A cover has the image's mean. All scores are looked at together: the covered images are the same.
    """
    prepared = plain(network_input(data, program.input_key))
    rows, columns = prepared.shape[1:]
    places = list(_places((rows, columns)))
    scores = scores_of(program, data, [prepared, *_covered(prepared, places)])
    said = (f"cover: {_side(rows)} × {_side(columns)} of {rows} × {columns} pixels, their mean",)
    return [(_fall(scores[0, k] - scores[1:, k], places, (rows, columns)), said) for k in indices]


def _covered(prepared: Tensor, places: Sequence[_Place]) -> Iterator[Tensor]:
    mean = prepared.mean()
    for place in places:
        image = prepared.clone()
        image[(slice(None), *place)] = mean
        yield image


def _fall(falls: npt.NDArray[np.float64], places: Sequence[_Place], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """``falls``: of each place."""
    total, covers = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for place, fall in zip(places, falls, strict=True):
        total[place] += fall
        covers[place] += 1
    total /= covers
    total[total < _LEAST] = 0.0
    return total


def _places(shape: tuple[int, int]) -> Iterator[_Place]:
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
