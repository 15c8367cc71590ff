"""MONAI's sliding window in bounded memory: a part of the volume is finished, handed on and forgotten.

MONAI adds every window to one buffer of the size of the volume and divides at the end. Here the volume is cut along the
borders of all windows into *cells*; a cell is complete with the last window that covers it, and only cells that some
later window still covers are kept. Windows and weights are MONAI's, and so is the order in which they are added up,
except for many classes: there another order needs less memory, and three or more answers may differ in the last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, TypeGuard

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import SlidingWindowInferer
from monai.inferers.utils import _get_scan_interval
from monai.utils import BlendMode, PytorchPadMode, ensure_tuple_rep, fall_back_tuple, look_up_option
from torch import Tensor
from torch.nn import functional

from wetread.infer.windows.cells import Box, Cells, Sums, WindowGrid, neighbours_together

Network = Callable[[Tensor], Tensor]
"""``(window, channel, *roi)`` → ``(window, class, *roi)``."""
_PLENTY_MB = 256
"""Sums up to this size are kept in layers of the volume and added up in MONAI's order, which takes less time."""


class OtherGrid(Exception):
    """The network answers on another grid than it was asked on: these windows cannot be added up here."""


def can_stream(inferer: Any) -> TypeGuard[SlidingWindowInferer]:
    """Whether ``inferer`` is MONAI's plain sliding window; a subclass may do anything."""
    plain = isinstance(inferer, SlidingWindowInferer) and type(inferer) is SlidingWindowInferer
    return plain and not inferer.with_coord


def window_grid(inferer: SlidingWindowInferer, shape: tuple[int, ...]) -> WindowGrid:
    """The windows that ``inferer`` would run over a volume of ``shape`` (spatial axes only)."""
    roi = tuple(int(n) for n in fall_back_tuple(inferer.roi_size, shape))
    padded = tuple(max(n, r) for n, r in zip(shape, roi, strict=True))
    interval = _get_scan_interval(padded, roi, len(shape), ensure_tuple_rep(inferer.overlap, len(shape)))
    windows = tuple(tuple(window) for window in dense_patch_slices(padded, roi, interval))
    padding = tuple((p - n) // 2 for p, n in zip(padded, shape, strict=True))
    return WindowGrid(tuple(shape), padding, padded, roi, windows)


def planned(grid: WindowGrid, classes: int) -> Cells:
    """How the volume is cut, and the order of the windows, for sums of so many classes."""
    layers = prod((grid.roi[0] * 2, *grid.padded[1:])) * classes * 4 / 2**20
    if layers <= _PLENTY_MB:
        return Cells(grid, axes=1)
    return Cells(neighbours_together(grid), axes=len(grid.roi))


def stream(
    inferer: SlidingWindowInferer, image: Tensor, network: Network, *, weigh: bool = True
) -> Iterator[tuple[Box, Tensor]]:
    """What ``inferer(image[None], network)[0]`` would answer, box by box; the boxes fill the volume, none overlap.

    ``image``: ``(channel, *spatial)``. Each answer is float32 ``(class, *box)`` and belongs to the caller. Without
    ``weigh`` it is not divided by the sum of the weights, which is enough for an argmax.
    Raises: ``OtherGrid`` before anything was given.
    """
    grid = window_grid(inferer, tuple(image.shape[1:]))
    padded, weights, sums = _padded(inferer, image, grid), _weights(inferer, grid), None
    waiting = list(grid.windows)
    while waiting:
        windows, waiting = waiting[: inferer.sw_batch_size], waiting[inferer.sw_batch_size :]
        answers = _answers(network, torch.stack([padded[(slice(None), *w)] for w in windows]), grid.roi)
        if sums is None:
            cells = planned(grid, answers.shape[1])
            sums = Sums(cells, weights, weigh=weigh)
            waiting = [window for window in cells.grid.windows if window not in windows]
        for window, answer in zip(windows, answers, strict=True):
            yield from sums.add(window, answer)
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
