"""A cascade whose answer is a mask, in fewer passes over less memory than its transforms one after the other.

``CascadeInferer`` and ``SolidComponentd`` say what is computed, and MONAI can run them; this computes the same. What
makes it faster: engines answer with one byte for each voxel instead of two probabilities (thresholding and picking the
nearest voxel can change places), the arithmetic on the image stays in the cache, components are found by their runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from torch import Tensor

from wetread.infer.networks.cascade import Box, CascadeInferer, box_with_margin
from wetread.infer.networks.components import SolidComponentd, box_of
from wetread.infer.networks.enlarged import Image, normalised, picked
from wetread.infer.networks.runs import Mask, filled_by_runs, largest_of_runs
from wetread.infer.program import Data, Images, Program, applied, network_input, plain, stage

_EVEN = 0.5
"""The threshold at which a mask says as much as two probabilities do."""


@runtime_checkable
class MaskNetwork(Protocol):
    """A network that can say where the second of its two channels is the larger."""

    def masks(self, x: Tensor) -> Tensor:
        """uint8 ``(1, 1, i, j, k)`` of 0 and 1, in host memory."""
        ...


def masked(program: Program) -> Program:
    """The program in this form, where it is a cascade of our engines whose postprocessing begins with its component."""
    first = next(iter(program.postprocessing.transforms), None)
    cascade = program.inferer
    if type(cascade) is not CascadeInferer or type(first) is not SolidComponentd:
        return program
    if not (isinstance(cascade.box_network, MaskNetwork) and isinstance(program.network, MaskNetwork)):
        return program
    if first.threshold != _EVEN or tuple(first.keys) != (program.output_key,):
        return program
    return replace(program, tail=CascadeTail(cascade, tuple(program.postprocessing.transforms[1:])))


@dataclass(frozen=True, slots=True)
class CascadeTail:
    """From preprocessed data to the finished label map."""

    cascade: CascadeInferer
    rest: Sequence[Any]
    """Postprocessing after the component."""
    kept: dict[tuple[int, ...], Image] = field(default_factory=dict)
    """The fine network's input from one study to the next: fresh memory costs as much time as what is written to it."""

    def __call__(self, program: Program, data: Data, images: Images) -> Tensor:
        """What ``program.finished`` would give, which does it where the image is not one volume."""
        prepared = network_input(data, program.input_key)
        if tuple(prepared.shape[:-3]) != (1,):
            return program.finished(data)
        image = plain(prepared).to(torch.float32).numpy()[0]
        with stage("the inferer"):
            box, fine = self._fine(image)
            mask = _mask(program.network, fine)
        with stage("postprocessing"):
            labels = torch.zeros(prepared.shape, dtype=torch.uint8)
            inside = image[box].shape
            labels[(0, *box)] = torch.from_numpy(_solid(picked(mask, inside).view(np.bool_)).view(np.uint8))
            data[program.output_key] = MetaTensor(labels, meta=dict(getattr(prepared, "meta", {})))
            return applied(Compose(self.rest), data, program.output_key)[program.output_key]

    def _fine(self, image: Image) -> tuple[Box, Image]:
        """Where to look, and what the fine network is to be given."""
        cascade = self.cascade
        coarse = np.nan_to_num(picked(image, cascade.box_shape), copy=False)
        window = cascade.window(torch.from_numpy(coarse))
        found = largest_of_runs(_mask(cascade.box_network, normalised(coarse, window, cascade.box_shape)))
        box = box_with_margin(found, image.shape, margin=cascade.box_margin)
        shape = cascade.fine_shape
        self.kept[shape] = normalised(image[box], window, shape, out=self.kept.get(shape))
        return box, self.kept[shape]


def _mask(network: Any, image: Image) -> Mask:
    return network.masks(torch.from_numpy(image)[None, None])[0, 0].numpy().view(np.bool_)


def _solid(mask: Mask) -> Mask:
    """As ``components.solid``."""
    if not mask.any():
        return mask
    box = box_of(mask)
    solid = np.zeros_like(mask)
    solid[box] = filled_by_runs(largest_of_runs(mask[box]))
    return solid
