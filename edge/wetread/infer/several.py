"""One image in many forms, each with its scores: asked in batches, because a call costs more than a small image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wetread.infer.program import Data, Program

_VALUES_AT_ONCE = 2**20
"""Pixels of all images of one batch: 4 MB of float32, of which a network makes some hundred times as much."""


def scores_of(program: Program, data: Data, images: Iterable[Tensor]) -> npt.NDArray[np.float64]:
    """``(image, score)`` after postprocessing. ``images`` ``(channel, row, column)``, all of one shape, stand where the
    network's input stands in ``data``, one after the other. ``data`` is not changed."""
    with torch.inference_mode():
        answers = [answer for batch in _batches(images) for answer in program.finished_each(data, batch)]
    return np.array([torch.as_tensor(answer).reshape(-1).double().numpy() for answer in answers])


def _batches(images: Iterable[Tensor]) -> Iterator[Tensor]:
    rest = iter(images)
    for first in rest:
        more = max(1, _VALUES_AT_ONCE // first.numel()) - 1
        yield torch.stack([first, *islice(rest, more)])
