"""Adding up windows cell by cell: what no later window covers is complete and need not be kept."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import torch
from torch import Tensor

Box = tuple[slice, ...]
Cell = tuple[int, ...]


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


def neighbours_together(grid: WindowGrid) -> WindowGrid:
    """The same windows in an order that completes cells sooner.

    At the end of each axis MONAI shifts the last window back into the volume, so that it may cover nearly what the one
    before covers. In MONAI's order all that they share waits for a whole layer of windows; here windows that overlap by
    more than half follow one another. Sums of three and more windows may round differently.
    """
    groups = [_groups(grid, axis) for axis in range(len(grid.roi))]

    def place(window: Box) -> tuple[int, ...]:
        starts = [side.start for side in window]
        return (*(group[start] for group, start in zip(groups, starts, strict=True)), *starts)

    return replace(grid, windows=tuple(sorted(grid.windows, key=place)))


class Cells:
    """The padded volume, cut along some axes wherever a window begins or ends."""

    grid: WindowGrid
    """Its windows, in the order in which they will be added."""

    def __init__(self, grid: WindowGrid, *, axes: int) -> None:
        """Cut along the first ``axes`` axes: more cuts need less memory, fewer take less time."""
        self.grid = grid
        self._cuts = [_edges(grid, a) if a < axes else [0, n] for a, n in enumerate(grid.padded)]

    def covered(self, window: Box) -> Iterator[Cell]:
        """The cells that share voxels with ``window``."""
        axes = zip(window, self._cuts, strict=True)
        return product(*(range(bisect_right(c, side.start) - 1, bisect_left(c, side.stop)) for side, c in axes))

    def box(self, cell: Cell) -> Box:
        """Where the cell lies in the padded volume."""
        return tuple(slice(cuts[i], cuts[i + 1]) for i, cuts in zip(cell, self._cuts, strict=True))

    def size(self, cell: Cell) -> tuple[int, ...]:
        """Voxels along each axis of the cell."""
        return tuple(side.stop - side.start for side in self.box(cell))

    def windows_per_cell(self) -> Counter[Cell]:
        """How many windows share voxels with each cell."""
        return Counter(cell for window in self.grid.windows for cell in self.covered(window))

    def most_voxels_held(self) -> int:
        """Voxels at the worst moment: of the cells that have begun, and of one that was handed on just before."""
        sizes = (prod(self.size(cell)) for cell in self.windows_per_cell())
        return self.most_voxels_begun() + max(sizes)

    def most_voxels_begun(self) -> int:
        """Voxels in begun cells at the worst moment."""
        awaited, held = self.windows_per_cell(), dict[Cell, int]()
        most = now = 0
        for window in self.grid.windows:
            for cell in self.covered(window):
                awaited[cell] -= 1
                if awaited[cell] and cell not in held:
                    held[cell] = prod(self.size(cell))
                    now += held[cell]
                most = max(most, now)
                now -= held.pop(cell, 0) if not awaited[cell] else 0
        return most


class Sums:
    """Sums of window answers, begun and not complete; each is added in the order of the windows."""

    def __init__(self, cells: Cells, weights: Tensor | None, *, weigh: bool) -> None:
        """``weights``: of a window's voxels, none when all are 1. ``weigh``: divide by the sum of the weights."""
        self._grid, self._cells = cells.grid, cells
        self._weights, self._weigh = weights, weigh
        self._awaited = cells.windows_per_cell()
        self._answers: dict[Cell, Tensor] = {}
        self._weight_sums: dict[Cell, Tensor] = {}
        self._answers_on = torch.device("cpu")
        self._windows_along = [_count(cells.grid, axis) for axis in range(len(cells.grid.roi))]

    @property
    def voxels(self) -> int:
        """In cells that have begun."""
        return sum(total[0].numel() for total in self._answers.values())

    def add(self, window: Box, answer: Tensor) -> Iterator[tuple[Box, Tensor]]:
        """Add one window's answer ``(class, *roi)``, which is changed; gives what this completes, without padding."""
        self._answers_on = answer.device
        if self._weights is not None:
            self._weights = self._weights.to(answer.device)
            answer = answer.mul_(self._weights)
        for cell in self._cells.covered(window):
            self._awaited[cell] -= 1
            total = self._added(self._answers, cell, window, answer)
            weight = self._weight(cell, window) if self._weigh else None
            if not self._awaited[cell]:
                yield from self._given(cell, total if weight is None else total / weight)

    def _weight(self, cell: Cell, window: Box) -> Tensor | None:
        """What the windows' weights add up to so far; where all are 1, how many windows there are in the end."""
        if self._weights is not None:
            return self._added(self._weight_sums, cell, window, self._weights[None])
        if self._awaited[cell]:
            return None
        count = torch.ones(())
        for side, along in zip(self._cells.box(cell), self._windows_along, strict=True):
            count = count[..., None] * along[side]
        return count.to(self._answers_on)

    def _added(self, sums: dict[Cell, Tensor], cell: Cell, window: Box, answer: Tensor) -> Tensor:
        box = self._cells.box(cell)
        piece, place = answer[_shared(box, within=window)], _shared(window, within=box)
        whole = piece.shape[1:] == self._cells.size(cell)
        total = sums.pop(cell, None)
        if total is None and whole:
            total = piece.clone() if self._awaited[cell] else piece
        elif total is None:
            total = piece.new_zeros((len(piece), *self._cells.size(cell)))
            total[place] = piece
        else:
            total[place] += piece
        if self._awaited[cell]:
            sums[cell] = total
        return total

    def _given(self, cell: Cell, total: Tensor) -> Iterator[tuple[Box, Tensor]]:
        """The cell without padding, in the volume's own indices; nothing when it is all padding."""
        box, kept = [], []
        for side, before, n in zip(self._cells.box(cell), self._grid.padding, self._grid.shape, strict=True):
            start, stop = max(side.start - before, 0), min(side.stop - before, n)
            box.append(slice(start, stop))
            kept.append(slice(start + before - side.start, stop + before - side.start))
        if all(side.start < side.stop for side in box):
            yield tuple(box), total[(slice(None), *kept)]


def _shared(box: Box, *, within: Box) -> Box:
    """What two boxes share, in the indices of one of them, for an array with a channel before."""
    sides = zip(box, within, strict=True)
    return (slice(None), *(slice(max(b.start, w.start) - w.start, min(b.stop, w.stop) - w.start) for b, w in sides))


def _groups(grid: WindowGrid, axis: int) -> dict[int, int]:
    """Number of the group of each window start along one axis; a group overlaps its first window by more than half."""
    groups: dict[int, int] = {}
    number, first = -1, -grid.roi[axis]
    for start in sorted({window[axis].start for window in grid.windows}):
        if 2 * (start - first) >= grid.roi[axis]:
            number, first = number + 1, start
        groups[start] = number
    return groups


def _edges(grid: WindowGrid, axis: int) -> list[int]:
    return sorted({edge for window in grid.windows for edge in (window[axis].start, window[axis].stop)})


def _count(grid: WindowGrid, axis: int) -> Tensor:
    """How many windows lie over each index of one axis; the windows are all combinations of their sides."""
    count = torch.zeros(grid.padded[axis])
    for start, stop in {(window[axis].start, window[axis].stop) for window in grid.windows}:
        count[start:stop] += 1
    return count
