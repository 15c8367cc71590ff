"""Detectors: a RetinaNet behind one-tensor engines, and its boxes on the grid of the preprocessed image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.data import MetaTensor
from monai.transforms import Compose
from torch import Tensor, nn

from wetread.errors import BundleInvalid
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.engines.engine import Engine
from wetread.infer.program import EngineNetwork, Images, applied, in_memory, network_input, plain, stage

_OF_PLACE = frozenset({"ClipBoxToImaged", "AffineBoxToWorldCoordinated", "ConvertBoxModed", "DeleteItemsd"})
"""Postprocessing that only says in other words where a box is; ours does that for the source image."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector found, in index coordinates of the preprocessed image."""

    corners: npt.NDArray[np.float64]
    """``(box, 6)``: smallest and largest ``(i, j, k)``; voxel centres have whole numbers, as MONAI's box transforms
    take them when they go from world to image."""
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    affine: npt.NDArray[np.float64]
    """Of the preprocessed image: ``(i, j, k)`` to RAS mm."""


class UnpackedNetwork(EngineNetwork):
    """Stands where the RetinaNet stood: asks the engine and cuts its one tensor into maps again.

    What else a detector asks of its network (number of classes, anchors, ...) an empty copy of it answers.
    """

    def __init__(self, engine: Engine, empty: RetinaNet) -> None:
        super().__init__(engine)
        self._empty = (empty,)  # a tuple hides it from Module: its parameters exist in name only

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattribute__("_empty")[0], name)

    def forward(self, x: Tensor, *more: object, **named: object) -> Any:
        """The network's maps, as it would give them itself."""
        packed = super().forward(x, *more, **named).flatten(1)
        empty = self._empty[0]
        shapes = _map_shapes(empty, x)
        maps = [m.reshape(s) for m, s in zip(packed.split([s[1:].numel() for s in shapes], dim=1), shapes, strict=True)]
        if empty.use_list_output:
            return maps
        half = len(maps) // 2
        return {empty.cls_key: maps[:half], empty.box_reg_key: maps[half:]}


def _map_shapes(empty: RetinaNet, x: Tensor) -> list[torch.Size]:
    features = empty.feature_extractor(torch.empty(x.shape, device="meta"))
    levels = [features] if isinstance(features, Tensor) else list(getattr(features, "values", lambda: features)())
    per_place = (empty.num_anchors * empty.num_classes, empty.num_anchors * 2 * empty.spatial_dims)
    return [torch.Size((level.shape[0], channels, *level.shape[2:])) for channels in per_place for level in levels]


@dataclass(frozen=True, slots=True)
class DetectorProgram:
    """Preprocessing, then the detector; of postprocessing, what chooses boxes and not what moves them."""

    preprocessing: Compose
    inferer: Any
    """Called with a list of images and the network; answers with one dictionary of boxes for each image."""
    network: nn.Module
    detector: Any
    choosing: Compose
    input_key: str

    def __call__(self, images: Images) -> Detections:
        """Images without a channel → boxes on the preprocessed grid."""
        with torch.inference_mode():
            with stage("preprocessing"):
                data = applied(self.preprocessing, dict(images), self.input_key)
            prepared = network_input(data, self.input_key)
            if not isinstance(prepared, MetaTensor):
                raise BundleInvalid("preprocessing loses where the image lies (it gives no MetaTensor)")
            with stage("the detector"):
                found = self.inferer([plain(prepared)], self.network)[0]
            with stage("postprocessing"):
                found = self.choosing({**data, **found})
        return self._detections(found, prepared)

    def _detections(self, found: Mapping[str, Tensor], prepared: MetaTensor) -> Detections:
        keys = (self.detector.target_box_key, self.detector.pred_score_key, self.detector.target_label_key)
        boxes, scores, labels = (torch.as_tensor(found[key]).as_subclass(Tensor).cpu().numpy() for key in keys)
        return Detections(
            np.asarray(boxes, np.float64).reshape(len(scores), 2 * self.detector.spatial_dims),
            np.asarray(scores, np.float64).reshape(-1),
            np.asarray(labels, np.int64).reshape(-1),
            prepared.affine.cpu().numpy().astype(np.float64),
        )


def open_detector(config: InferenceConfig, engines: Mapping[str, Engine], detector: str) -> DetectorProgram:
    """The bundle round the detector with the id ``detector``. Raises: ``BundleInvalid``."""
    name = config.runtime.network
    networks = {n: UnpackedNetwork(engine, empty_network(config, n)) for n, engine in engines.items()}
    parser = config.parser(networks)
    made = config.resolved(parser, detector).eval()
    if "evaluator::_requires_" in parser:
        config.resolved(parser, "evaluator::_requires_")  # where bundles set keys, thresholds and the sliding window
    inferer = config.resolved(parser, "inferer") if "inferer" in config.config else _Directly(made)
    post = in_memory(config.resolved(parser, "postprocessing")) if "postprocessing" in config.config else Compose([])
    return DetectorProgram(
        preprocessing=in_memory(config.resolved(parser, "preprocessing")),
        inferer=inferer,
        network=networks[name].eval(),
        detector=made,
        choosing=Compose([t for t in post.transforms if type(t).__name__ not in _OF_PLACE]),
        input_key=config.runtime.input_key,
    )


def empty_network(config: InferenceConfig, name: str) -> RetinaNet:
    """The network without memory for its parameters. Raises: ``BundleInvalid`` for another kind of detector."""
    with torch.device("meta"):
        network = config.bare_network(name)
    if not isinstance(network, RetinaNet):
        raise BundleInvalid(f"{config.path}: the detector's network is a {type(network).__name__}, not a RetinaNet")
    return network.eval()


@dataclass(frozen=True, slots=True)
class _Directly:
    """The detector itself, called as an inferer is called."""

    detector: Any

    def __call__(self, images: list[Tensor], _network: nn.Module) -> Any:
        return self.detector(images, use_inferer=self.detector.inferer is not None)
