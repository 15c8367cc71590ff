"""What a cascade does to an image before its networks: nearest voxels are picked last, in as few passes as can be.

The arithmetic is that of ``cascade``: intensities between two limits, then mean and deviation as in the training, both
of the image *after* picking. A voxel that is picked several times is computed once and counted several times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from wetread.infer.networks.cascade import TRAINED_DEVIATION, TRAINED_MEAN

Image = npt.NDArray[np.float32]
"""``(i, j, k)``."""
_PLANES = 8
"""Computed at once: they stay in the cache from one step to the next."""


@dataclass(frozen=True, slots=True)
class Picks:
    """Which voxel of ``size`` each of a number of places along an axis takes (*nearest-exact*)."""

    taken: npt.NDArray[np.int64]
    """Those that are taken at all, in order."""
    place: npt.NDArray[np.int64]
    """For each place: which of these."""
    times: Image
    """For each of these: how often."""

    @classmethod
    def of(cls, size: int, wanted: int) -> Picks:
        """As PyTorch picks them, by its own rounding."""
        numbers = torch.arange(size, dtype=torch.float32).reshape(1, 1, size)
        voxel = functional.interpolate(numbers, (wanted,), mode="nearest-exact").flatten().long().numpy()
        taken, place, times = np.unique(voxel, return_inverse=True, return_counts=True)
        return cls(taken, place, times.astype(np.float32))

    @property
    def all_taken(self) -> bool:
        """Whether no voxel is left out between the first and the last one taken."""
        return len(self.taken) == self.taken[-1] - self.taken[0] + 1


def picked(image: npt.NDArray[np.generic], shape: Sequence[int]) -> npt.NDArray[np.generic]:
    """``image`` at ``shape``."""
    first, second, third = (Picks.of(n, wanted) for n, wanted in zip(image.shape, shape, strict=True))
    answer = np.empty(tuple(shape), image.dtype)
    rows, columns = second.taken[second.place], third.taken[third.place]

    def planes(some: slice) -> None:
        for place in range(*some.indices(shape[0])):
            image[first.taken[first.place[place]]].take(columns, 1).take(rows, 0, out=answer[place], mode="clip")

    _in_parallel(planes, shape[0])
    return answer


def normalised(image: Image, window: tuple[float, float], shape: Sequence[int], *, out: Image | None = None) -> Image:
    """``image`` at ``shape``, scaled so that there its mean and deviation are those of the training; in ``out``."""
    axes = [Picks.of(n, wanted) for n, wanted in zip(image.shape, shape, strict=True)]
    scaled, mean, deviation = _scaled(_taken(image, axes), window, axes)
    answer = np.empty(tuple(shape), np.float32) if out is None else out
    factor = np.float32(TRAINED_DEVIATION / deviation)
    more = np.float32(TRAINED_MEAN - mean * TRAINED_DEVIATION / deviation)
    first, second, third = axes
    begins = np.searchsorted(first.place, np.arange(len(first.taken) + 1))

    def planes(some: slice) -> None:
        for plane in range(*some.indices(len(scaled))):
            finished = scaled[plane] * factor
            finished += more
            begin, end = begins[plane], begins[plane + 1]
            finished.take(third.place, 1).take(second.place, 0, out=answer[begin], mode="clip")
            answer[begin + 1 : end] = answer[begin]

    _in_parallel(planes, len(scaled))
    return answer


def _taken(image: Image, axes: Sequence[Picks]) -> Image:
    """The voxels that are taken, each once; a view where that is all of them."""
    for axis, picks in enumerate(axes):
        if not picks.all_taken:
            image = image.take(picks.taken, axis)
        else:
            image = image[(slice(None),) * axis + (slice(picks.taken[0], picks.taken[-1] + 1),)]
    return image


def _scaled(image: Image, window: tuple[float, float], axes: Sequence[Picks]) -> tuple[Image, float, float]:
    """Intensities from 0 to 1; mean and deviation, each voxel as often as it is picked."""
    low, high = window
    first, second, third = (picks.times for picks in axes)
    scaled = np.empty(image.shape, np.float32)
    sums = np.empty((2, len(scaled)))

    def planes(some: slice) -> None:
        part = scaled[some]
        np.subtract(np.nan_to_num(image[some]), np.float32(low), out=part)
        np.divide(part, np.float32(high - low), out=part)
        np.clip(part, 0, 1, out=part)
        for number, values in enumerate((part, np.square(part))):
            sums[number, some] = (values @ third).astype(np.float64) @ second

    _in_parallel(planes, len(scaled))
    count = prod(int(picks.times.sum()) for picks in axes)
    total, squares = sums @ first.astype(np.float64)
    mean = total / count
    return scaled, mean, max(0.0, (squares - total * mean) / (count - 1)) ** 0.5


def _in_parallel(work: Callable[[slice], None], size: int) -> None:
    """``work`` on a few planes at a time; numpy leaves the interpreter's lock meanwhile."""
    parts = [slice(n, min(n + _PLANES, size)) for n in range(0, size, _PLANES)]
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(work, parts))
