"""Puts streaming into a bundle's program, where its chain is one of the usual ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from torch import Tensor

from wetread.infer.program import Data, Images, Program, applied, network_input, stage, where
from wetread.infer.streaming.chain import Streaming, recognised
from wetread.infer.streaming.invert import Origin
from wetread.infer.streaming.spacing import resample_axis_by_axis
from wetread.infer.windows.air import AirSkipping
from wetread.infer.windows.sliding import OtherGrid


def streamed(program: Program, *, skip_air: bool = False) -> Program:
    """The program in bounded memory, and faster: the same voxels, as far as rounding allows.

    Resampling goes axis by axis in any case; windows and the way to labels are streamed where the chain is recognised.
    ``skip_air``: see ``Runtime.skip_air``.
    """
    resample_axis_by_axis(program.preprocessing.transforms)
    streaming = recognised(
        program.inferer,
        program.postprocessing.transforms,
        input_key=program.input_key,
        output_key=program.output_key,
    )
    if streaming is None:
        return program
    return replace(program, tail=Tail(streaming, AirSkipping() if skip_air else None))


@dataclass(frozen=True, slots=True)
class Tail:
    """From preprocessed data to the finished prediction, streamed."""

    streaming: Streaming
    air: AirSkipping | None

    def __call__(self, program: Program, data: Data, images: Images) -> Tensor:
        """What ``program.finished`` would give, which also does it where streaming cannot."""
        prepared, image = network_input(data, program.input_key), images.get(program.input_key)
        if not isinstance(prepared, MetaTensor) or not isinstance(image, MetaTensor):
            return program.finished(data)
        labels = self._labels(program, prepared, image)
        if labels is None:
            return program.finished(data)
        data[program.output_key] = labels
        del prepared, labels
        with stage("postprocessing"):
            return applied(Compose(self.streaming.rest), data, program.output_key)[program.output_key]

    def _labels(self, program: Program, prepared: MetaTensor, image: MetaTensor) -> MetaTensor | None:
        try:
            return self._labels_on(where(program.network), program, prepared, image)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
        return self._labels_on(torch.device("cpu"), program, prepared, image)

    def _labels_on(
        self, device: torch.device, program: Program, prepared: MetaTensor, image: MetaTensor
    ) -> MetaTensor | None:
        """Windows are gathered, weighted and added up on ``device``; labels come back in host memory."""
        prepared = prepared.to(device)
        spatial = tuple(int(n) for n in image.shape[1 - prepared.ndim :])  # stacked series have a channel, one has none
        origin = Origin(spatial, image.affine.numpy())
        network = self.air.around(program.network, prepared.as_tensor()) if self.air else program.network
        with stage("the inferer"):
            try:
                return self.streaming(prepared, network, origin)
            except OtherGrid:
                return None
