"""Windows of pure air are answered with one answer that was computed before: the same voxels, fewer windows."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wetread.infer.windows.sliding import Network

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class AirSkipping:
    """Keeps what one network answers to a window of nothing but air, from study to study.

    Air is the lowest value of each channel of a prepared volume; a window is air when no voxel has any other value. A
    CT that was clipped has such windows, an MR with its noise has none.
    """

    refused: str = ""
    """Why windows of air are not skipped, as a sentence; empty when they are, or none was met yet."""
    skipped: int = 0
    """Windows that were not computed."""
    _air: Tensor | None = field(default=None, repr=False)
    _answer: Tensor | None = field(default=None, repr=False)

    def around(self, network: Network, image: Tensor) -> Network:
        """``network`` that computes no window of air of ``image`` ``(channel, *spatial)`` twice."""
        air = image.flatten(1).amin(dim=1).reshape(1, -1, *[1] * (image.ndim - 1))

        def answer(windows: Tensor) -> Tensor:
            is_air = (windows == air).flatten(1).all(dim=1)
            known = self._to_air(network, air, windows) if bool(is_air.any()) else None
            if known is None:
                return network(windows)
            answers = known.repeat(len(windows), *[1] * (windows.ndim - 1))
            if not bool(is_air.all()):
                answers[~is_air] = network(windows[~is_air])
            self.skipped += int(is_air.sum())
            return answers

        return answer

    def _to_air(self, network: Network, air: Tensor, windows: Tensor) -> Tensor | None:
        """The network's answer to one window of air, if that is background: else each window is to be computed."""
        shape = (1, *windows.shape[1:])
        known = self._air is not None and (self._air.shape, self._air.device) == (shape, air.device)
        if not known or not torch.equal(torch.as_tensor(self._air), air.expand(shape)):
            self._air = air.expand(shape).contiguous()
            self._answer = network(self._air)
            classes = self._answer.argmax(dim=1).unique().tolist()
            if classes != [0]:
                self._answer = None
                self.refused = f"windows of air are computed: the network sees the classes {classes} in one"
                _log.warning(self.refused)
            else:
                self.refused = ""
        return self._answer
