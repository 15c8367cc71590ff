"""Which pixels of a film moved each score, as maps on the film's own pixels.

A map is computed on what the network sees and brought back by the affine that MONAI's transforms keep, so that cropping
and resizing are undone whatever they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from scipy.ndimage import affine_transform
from torch import Tensor, nn

from wetread.bundles.manifest import ExplainRule, Manifest
from wetread.errors import BundleInvalid
from wetread.infer.adapters import to_images
from wetread.infer.explain.gradients import class_activation
from wetread.infer.explain.occlusion import occlusion
from wetread.infer.explain.rollout import rollout
from wetread.infer.program import Program, Runnable, network_input
from wetread.records.heat_map import ScoreMap
from wetread.records.model_input import ModelInput
from wetread.records.radiograph import Radiograph

MakeNetwork = Callable[[], nn.Module]
"""The bundle's own network, in PyTorch: gradients and attention are asked of it, whatever engine answers."""

NAMES = {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++", "rollout": "attention rollout", "occlusion": "occlusion"}
_PLANE = 2


def explain(
    program: Runnable, make_network: MakeNetwork, manifest: Manifest, images: Mapping[str, ModelInput]
) -> tuple[ScoreMap, ...]:
    """One map for each score rule of the manifest, in their order; none of a bundle without ``explain``.

    Raises: ``BundleInvalid`` when the method does not go with the bundle's network or transforms.
    """
    rule, film = manifest.explain, images[manifest.inputs[0].name]
    if rule is None or not isinstance(film, Radiograph):
        return ()
    if not isinstance(program, Program):
        raise BundleInvalid("explain: a bundle that is driven by its own evaluator cannot be explained")
    data = program.prepared(to_images(manifest, images))
    prepared = network_input(data, program.input_key)
    to_film = _way_back(prepared, film)
    indices = [score.index for score in manifest.scores]
    if rule.method == "occlusion":
        found = occlusion(program, data, indices)
    else:
        found = _from_network(rule, make_network().cpu(), prepared, indices)
    return tuple(
        ScoreMap(film.turn.take_down(_scaled(to_film(raw))), NAMES[rule.method], parameters)
        for raw, parameters in found
    )


def _from_network(
    rule: ExplainRule, network: nn.Module, prepared: Tensor, indices: Sequence[int]
) -> list[tuple[npt.NDArray[np.float32], tuple[str, ...]]]:
    """On the pixels of ``prepared`` ``(1, row, column)``, for each of ``indices``; any scale, nothing below 0."""
    image = torch.as_tensor(prepared).detach().as_subclass(Tensor).to(torch.float32)[None]
    if rule.method == "rollout":
        return [rollout(network, image)] * len(indices)
    plus_plus = rule.method == "gradcam++"
    return [class_activation(network, image, index, layer=rule.layer, plus_plus=plus_plus) for index in indices]


def _scaled(found: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """0 to 1; all 0 where nothing speaks for the score."""
    if not np.isfinite(found).all():
        raise BundleInvalid("explain: the map holds values that are not finite")
    largest = float(found.max())
    return found / np.float32(largest) if largest > 0 else np.zeros_like(found)


def _way_back(prepared: Tensor, film: Radiograph) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """From the network's pixels to those of the upright film; 0 where the network saw nothing."""
    if not isinstance(prepared, MetaTensor) or prepared.ndim != _PLANE + 1:
        raise BundleInvalid(
            "explain: preprocessing gives no image (channel, row, column) that knows where it lies; MONAI's spatial "
            "transforms keep that"
        )
    seen: npt.NDArray[np.float64] = prepared.affine.cpu().numpy()
    row_mm, column_mm = film.spacing_mm or (1.0, 1.0)
    to_seen = np.linalg.inv(seen) @ np.diag([row_mm, column_mm, *np.ones(len(seen) - _PLANE)])
    # A MetaTensor's affine is 4×4 also in the plane.
    matrix, offset = to_seen[:_PLANE, :_PLANE], to_seen[:_PLANE, -1]
    rows, columns = np.ogrid[: film.array.shape[0], : film.array.shape[1]]
    is_turned = bool((matrix[0, 1], matrix[1, 0]) != (0.0, 0.0))

    def to_film(found: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        scale = matrix if is_turned else np.diag(matrix)  # SciPy needs half the time where nothing is turned
        sampled = affine_transform(
            found, scale, offset, film.array.shape, output=np.float32, order=1, mode="nearest", prefilter=False
        )
        for axis, size in enumerate(found.shape):
            along, across = (rows, columns) if axis == 0 else (columns, rows)
            places = matrix[axis, axis] * along + offset[axis]
            if is_turned:
                places = places + matrix[axis, 1 - axis] * across
            seen_there = (places >= -0.5) & (places <= size - 0.5)
            sampled *= seen_there
        return np.asarray(sampled, np.float32)

    return to_film
