"""MONAI's sliding window in bounded memory: a part of the volume is finished, handed on and forgotten.

MONAI adds every window to one buffer of the size of the volume and divides at the end. Here the volume is cut along the
borders of all windows into *cells*; a cell is complete with the last window that covers it. Windows, their order,
their weights and the order in which they are added up are MONAI's, so the sums are the same; only cells that some later
window still covers are kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, TypeGuard

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import SlidingWindowInferer
from monai.inferers.utils import _get_scan_interval
from monai.utils import BlendMode, PytorchPadMode, ensure_tuple_rep, fall_back_tuple, look_up_option
from torch import Tensor
from torch.nn import functional

Box = tuple[slice, ...]
Cell = tuple[int, ...]
Network = Callable[[Tensor], Tensor]
"""``(window, channel, *roi)`` → ``(window, channel, *roi)``."""


class OtherGrid(Exception):
    """The network answers on another grid than it was asked on: these windows cannot be added up here."""


@dataclass(frozen=True, slots=True)
class WindowGrid:
    """Where the windows of one volume lie, in MONAI's order."""

    shape: tuple[int, ...]
    """Of the volume."""
    padding: tuple[int, ...]
    """Before the first voxel of each axis, when the volume is smaller than a window."""
    padded: tuple[int, ...]
    roi: tuple[int, ...]
    windows: tuple[Box, ...]
    """In the padded volume."""


def window_grid(inferer: SlidingWindowInferer, shape: tuple[int, ...]) -> WindowGrid:
    """The windows that ``inferer`` would run over a volume of ``shape`` (spatial axes only)."""
    roi = tuple(int(n) for n in fall_back_tuple(inferer.roi_size, shape))
    padded = tuple(max(n, r) for n, r in zip(shape, roi, strict=True))
    interval = _get_scan_interval(padded, roi, len(shape), ensure_tuple_rep(inferer.overlap, len(shape)))
    windows = tuple(tuple(window) for window in dense_patch_slices(padded, roi, interval))
    padding = tuple((p - n) // 2 for p, n in zip(padded, shape, strict=True))
    return WindowGrid(tuple(shape), padding, padded, roi, windows)


def can_stream(inferer: Any) -> TypeGuard[SlidingWindowInferer]:
    """Whether ``inferer`` is MONAI's plain sliding window; a subclass may do anything."""
    plain = isinstance(inferer, SlidingWindowInferer) and type(inferer) is SlidingWindowInferer
    return plain and not inferer.with_coord


def stream(
    inferer: SlidingWindowInferer, image: Tensor, network: Network, *, weigh: bool = True
) -> Iterator[tuple[Box, Tensor]]:
    """What ``inferer(image[None], network)[0]`` would answer, box by box; the boxes fill the volume, none overlap.

    ``image``: ``(channel, *spatial)``. Each answer is float32 ``(class, *box)`` and belongs to the caller. Without
    ``weigh`` it is not divided by the sum of the weights, which is enough for an argmax.
    Raises: ``OtherGrid`` before anything was given.
    """
    grid = window_grid(inferer, tuple(image.shape[1:]))
    weights = _weights(inferer, grid)
    sums = _Sums(grid, weights, weigh=weigh)
    padded = _padded(inferer, image, grid)
    for first in range(0, len(grid.windows), inferer.sw_batch_size):
        windows = grid.windows[first : first + inferer.sw_batch_size]
        answers = _answers(network, torch.stack([padded[(slice(None), *w)] for w in windows]), grid.roi)
        for window, answer in zip(windows, answers, strict=True):
            yield from sums.add(window, answer if weights is None else answer.mul_(weights))
        del answers, answer  # or a batch's answers live until the next has come


def _answers(network: Network, windows: Tensor, roi: tuple[int, ...]) -> Tensor:
    answers = network(windows)
    if not isinstance(answers, Tensor) or tuple(answers.shape[2:]) != roi:
        raise OtherGrid(f"the network's answer is not one tensor on the grid of its window, {roi}")
    return answers.to(torch.float32)


def _weights(inferer: SlidingWindowInferer, grid: WindowGrid) -> Tensor | None:
    """Weight of each voxel of a window; none when all are 1."""
    if inferer.roi_weight_map is not None:
        return inferer.roi_weight_map.to(torch.float32).reshape(grid.roi)
    if BlendMode(inferer.mode) is BlendMode.CONSTANT:
        return None
    weights = compute_importance_map(
        grid.roi, mode=inferer.mode, sigma_scale=inferer.sigma_scale, device="cpu", dtype=torch.float32
    )
    return torch.as_tensor(weights).reshape(grid.roi)


def _padded(inferer: SlidingWindowInferer, image: Tensor, grid: WindowGrid) -> Tensor:
    if grid.padded == grid.shape:
        return image
    sides: list[int] = []
    for n, p, before in reversed(list(zip(grid.shape, grid.padded, grid.padding, strict=True))):
        sides += [before, p - n - before]
    mode = look_up_option(inferer.padding_mode, PytorchPadMode)
    return functional.pad(image[None], sides, mode=mode, value=inferer.cval)[0]


class _Sums:
    """The cells that have begun and are not complete."""

    def __init__(self, grid: WindowGrid, weights: Tensor | None, *, weigh: bool) -> None:
        self._grid = grid
        self._weights = weights
        self._weigh = weigh
        self._cuts = _cuts(grid)
        self._awaited = Counter(cell for window in grid.windows for cell in _covered(self._cuts, window))
        self._answers: dict[Cell, Tensor] = {}
        self._weight_sums: dict[Cell, Tensor] = {}

    def add(self, window: Box, answer: Tensor) -> Iterator[tuple[Box, Tensor]]:
        """Add one window's answer ``(class, *roi)``; gives the cells that this completes."""
        for cell in _covered(self._cuts, window):
            self._awaited[cell] -= 1
            complete = not self._awaited[cell]
            part = self._inside(cell, window)
            total = _added(self._answers, cell, answer[(slice(None), *part)], complete=complete)
            if self._weigh:
                weight = _added(self._weight_sums, cell, self._weight(part), complete=complete)
                total = total / weight if complete else total
            if complete:
                yield from self._given(cell, total)

    def _weight(self, part: Box) -> Tensor:
        return torch.ones(()) if self._weights is None else self._weights[part]

    def _inside(self, cell: Cell, window: Box) -> Box:
        sides = zip(cell, self._cuts, window, strict=True)
        return tuple(slice(cuts[i] - side.start, cuts[i + 1] - side.start) for i, cuts, side in sides)

    def _given(self, cell: Cell, total: Tensor) -> Iterator[tuple[Box, Tensor]]:
        """The cell without padding, in the volume's own indices; nothing when it is all padding."""
        box, kept = [], []
        for i, cuts, before, n in zip(cell, self._cuts, self._grid.padding, self._grid.shape, strict=True):
            start, stop = max(cuts[i] - before, 0), min(cuts[i + 1] - before, n)
            box.append(slice(start, stop))
            kept.append(slice(start + before - cuts[i], stop + before - cuts[i]))
        if all(side.start < side.stop for side in box):
            yield tuple(box), total[(slice(None), *kept)]


def _cuts(grid: WindowGrid) -> list[list[int]]:
    """Along each axis, where any window begins or ends: the borders of the cells."""
    axes = range(len(grid.roi))
    return [sorted({edge for w in grid.windows for edge in (w[a].start, w[a].stop)}) for a in axes]


def _covered(cuts: list[list[int]], window: Box) -> Iterator[Cell]:
    axes = zip(window, cuts, strict=True)
    return product(*(range(bisect_left(c, side.start), bisect_left(c, side.stop)) for side, c in axes))


def _added(sums: dict[Cell, Tensor], cell: Cell, piece: Tensor, *, complete: bool) -> Tensor:
    begun = sums.pop(cell, None)
    if begun is None and complete:
        return piece
    total = piece.clone() if begun is None else begun.add_(piece)
    if not complete:
        sums[cell] = total
    return total


def most_voxels_begun(grid: WindowGrid) -> int:
    """Voxels in begun cells at the worst moment: times classes × 4 bytes, what the sums need."""
    cuts = _cuts(grid)
    awaited = Counter(cell for window in grid.windows for cell in _covered(cuts, window))
    held: dict[Cell, int] = {}
    most = now = 0
    for window in grid.windows:
        for cell in _covered(cuts, window):
            awaited[cell] -= 1
            if awaited[cell] and cell not in held:
                held[cell] = prod(c[i + 1] - c[i] for i, c in zip(cell, cuts, strict=True))
                now += held[cell]
            elif not awaited[cell]:
                now -= held.pop(cell, 0)
        most = max(most, now)
    return most
