"""Between the images of a study and a bundle: volumes under the bundle's keys, and its answer in our terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor

from wetread.bundles.manifest import LabelRule, Manifest, ScoreRule
from wetread.errors import OutputInvalid
from wetread.infer.geometry import check_grid, film_to_meta_tensor, stack, to_label_map, to_meta_tensor
from wetread.infer.networks.detection import Detections
from wetread.infer.networks.detection_boxes import to_boxes
from wetread.infer.program import Runnable
from wetread.records.model_input import ModelInput
from wetread.records.output import Masks, ModelOutput, Scores
from wetread.records.radiograph import Radiograph
from wetread.records.volume import Volume


def answer(program: Runnable, manifest: Manifest, images: Mapping[str, ModelInput]) -> ModelOutput:
    """What the bundle says about the images (by input name), on the grid of the first input.

    Raises: ``OutputInvalid`` when it breaks what the manifest declares, ``BundleInvalid`` when the bundle's own code
    fails.
    """
    shown = images[manifest.inputs[0].name]
    return to_output(program(to_images(manifest, images)), shown, manifest)


def to_images(manifest: Manifest, images: Mapping[str, ModelInput]) -> dict[str, MetaTensor]:
    """The images under the keys of the bundle's data dictionary; volumes that share a key are stacked as channels."""
    by_key: dict[str, list[Volume]] = {}
    tensors: dict[str, MetaTensor] = {}
    for rule in manifest.inputs:
        key, image = rule.key or rule.name, images[rule.name]
        if isinstance(image, Radiograph):
            tensors[key] = film_to_meta_tensor(image)
        else:
            by_key.setdefault(key, []).append(image)
    return tensors | {key: to_meta_tensor(v[0]) if len(v) == 1 else stack(v) for key, v in by_key.items()}


def to_output(prediction: Any, image: ModelInput, manifest: Manifest) -> ModelOutput:
    """A prediction as the kind of answer that the manifest declares, checked. Raises: ``OutputInvalid``."""
    if manifest.scores:
        return to_scores(_tensor(prediction), manifest.scores)
    if isinstance(image, Radiograph):
        raise OutputInvalid("the manifest declares no scores, which are all that is read of a radiograph")
    if manifest.boxes:
        if not isinstance(prediction, Detections):
            raise OutputInvalid("the manifest declares boxes, the bundle has no detector that gives any")
        return to_boxes(prediction, image, manifest.boxes)
    if manifest.overlapping:
        return to_masks(_tensor(prediction), image, manifest.labels)
    return to_label_map(_tensor(prediction), image, manifest.labels, ignored=manifest.ignored_values)


def _tensor(prediction: Any) -> torch.Tensor:
    if not isinstance(prediction, torch.Tensor):
        raise OutputInvalid(f"the bundle answers with {type(prediction).__name__}, expected a tensor")
    return prediction


def to_masks(prediction: torch.Tensor, volume: Volume, labels: tuple[LabelRule, ...]) -> Masks:
    """A stack of masks ``(label, column, row, slice)`` of 0 and 1, on the grid of ``volume``.

    Raises: ``OutputInvalid`` when it lies on another grid, holds anything but 0 and 1, covers the whole image, or lacks
    a required structure.
    """
    check_grid(prediction, volume, channels=len(labels))
    found = prediction.detach().cpu().numpy()
    masks = np.ascontiguousarray(found.transpose(0, 3, 2, 1) > 0.5)
    if not all(_same(plane, mask.transpose(2, 1, 0)) for plane, mask in zip(found, masks, strict=True)):
        raise OutputInvalid(
            "the bundle's masks hold other values than 0 and 1: postprocessing must end with a threshold"
        )
    for label, mask in zip(labels, masks, strict=True):
        _check_mask(label, mask)
    return Masks(masks, volume.affine)


def _same(found: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> bool:
    return bool(np.array_equal(found, mask))


def _check_mask(label: LabelRule, mask: npt.NDArray[np.bool_]) -> None:
    if mask.all():
        raise OutputInvalid(
            f"{label.name} fills the whole image: the model did not see what it was made for", of_these_images=True
        )
    if label.required and not mask.any():
        raise OutputInvalid(
            f"no {label.name.lower()} found: its mask is empty, and this bundle requires it", of_these_images=True
        )


def to_scores(prediction: torch.Tensor, rules: tuple[ScoreRule, ...]) -> Scores:
    """The numbers of a classifier by their index. Raises: ``OutputInvalid`` when one is missing or not in 0 to 1."""
    vector = prediction.detach().cpu().to(torch.float64).numpy().reshape(-1)
    values = []
    for rule in rules:
        if rule.index >= len(vector):
            raise OutputInvalid(f"{rule.name} is number {rule.index} of the answer, which has {len(vector)} numbers")
        value = float(vector[rule.index])
        if not 0.0 <= value <= 1.0:
            raise OutputInvalid(
                f"the score of {rule.name} is {value:g}, expected 0 to 1: postprocessing must end with a sigmoid or "
                "softmax"
            )
        values.append(value)
    return Scores(tuple(values))
