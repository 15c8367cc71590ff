"""From windows to labels without a buffer of all classes: the usual end of a segmentation bundle, streamed.

Two orders are recognised. *Argmax first* (``Activationsd(softmax) → AsDiscreted(argmax) → Invertd``): softmax does not
change which class is largest, so each finished cell is reduced to labels at once. *The zoo's order* (``Activationsd →
Invertd → AsDiscreted``): linear interpolation treats each class alone, so finished planes are resampled one class at a
time and only the largest so far is kept. Everything else is left to MONAI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import Activationsd, AsDiscreted, EnsureTyped, Invertd
from torch import Tensor

from wetread.errors import OutputInvalid
from wetread.infer.configs.in_memory import Unchanged
from wetread.infer.streaming.invert import Origin, way_back
from wetread.infer.streaming.labels import Boxes, largest, largest_after
from wetread.infer.windows.sliding import Network, can_stream, stream

Transform = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Streaming:
    """The part of a bundle's chain that is streamed."""

    inferer: SlidingWindowInferer
    softmax: bool
    invert: Invertd | None
    """None: argmax comes first, and inverting is left to ``rest``."""
    rest: tuple[Transform, ...]
    """Postprocessing after the argmax."""

    def __call__(self, prepared: MetaTensor, network: Network, origin: Origin) -> MetaTensor | None:
        """The label map ``(1, *spatial)`` after the argmax: on the source grid, or before ``rest`` inverts it.

        ``prepared``: ``(channel, *spatial)`` after preprocessing. None when the geometry is one that MONAI must invert.
        Raises: ``OtherGrid`` when the network must be run by MONAI; ``OutputInvalid`` for answers that are not finite.
        """
        image = prepared.as_tensor()
        shape = tuple(int(n) for n in image.shape[1:])
        if self.invert is None:
            labels = largest(_finite(stream(self.inferer, image, _reduced(network), weigh=False)), shape)
            return self._label_map(labels, prepared, operations=prepared.applied_operations)
        back = way_back(prepared, origin)
        if back is None:
            return None
        boxes = _finite(stream(self.inferer, image, _reduced(network)))
        boxes = _probabilities(boxes) if self.softmax else boxes
        labels = back.to_source(largest_after(boxes, shape, back))
        label_map = self._label_map(labels, prepared, operations=[])
        label_map.affine = torch.as_tensor(origin.affine)
        return label_map

    def _label_map(self, labels: Tensor, prepared: MetaTensor, *, operations: list[Any]) -> MetaTensor:
        # AsDiscreted answers in float32, which later transforms may count on.
        array = labels[None].to(torch.float32) if self.rest else labels[None].contiguous()
        return MetaTensor(array, meta=dict(prepared.meta), applied_operations=list(operations))


def recognised(inferer: object, postprocessing: Sequence[Any], *, input_key: str, output_key: str) -> Streaming | None:
    """What of this chain can be streamed; None when it is not one of the two usual orders."""
    if not can_stream(inferer):
        return None
    todo = [t for t in postprocessing if type(t) is not Unchanged]
    while todo and type(todo[0]) is EnsureTyped:
        del todo[0]
    softmax = bool(todo) and _is_softmax(todo[0], output_key)
    todo = todo[1:] if softmax else todo
    invert = todo[0] if todo and _is_inversion(todo[0], input_key, output_key) else None
    todo = todo[1:] if invert is not None else todo
    if not todo or not _is_argmax(todo[0], output_key):
        return None
    if invert is not None and invert.nearest_interp[0]:
        # The largest of the nearest is the nearest of the largest.
        return Streaming(inferer, softmax, None, (invert, *todo[1:]))
    return Streaming(inferer, softmax, invert, tuple(todo[1:]))


def _is_softmax(transform: Any, key: str) -> bool:
    if type(transform) is not Activationsd or tuple(transform.keys) != (key,):
        return False
    plain = not transform.converter.kwargs and transform.other == (None,)
    return plain and transform.softmax == (True,) and not any(transform.sigmoid)


def _is_argmax(transform: Any, key: str) -> bool:
    if type(transform) is not AsDiscreted or tuple(transform.keys) != (key,) or transform.converter.kwargs:
        return False
    more = (transform.to_onehot, transform.threshold, transform.rounding)
    return transform.argmax == (True,) and all(value in (None, False) for (value,) in more)


def _is_inversion(transform: Any, input_key: str, output_key: str) -> bool:
    if type(transform) is not Invertd or tuple(transform.keys) != (output_key,):
        return False
    return tuple(transform.orig_keys) == (input_key,) and transform.post_func == (None,)


def _finite(boxes: Boxes) -> Boxes:
    for box, answer in boxes:
        if not bool(torch.isfinite(answer.sum())):
            raise OutputInvalid("the network's answer holds values that are not finite")
        yield box, answer


def _reduced(network: Network) -> Network:
    """``network`` that answers, of two classes, only by how much the second is ahead: half of everything after it."""

    def answer(windows: Tensor) -> Tensor:
        scores = network(windows)
        if not isinstance(scores, Tensor) or scores.shape[1] > 2:
            return scores
        return scores[:, 1:] - scores[:, :1] if scores.shape[1] == 2 else torch.zeros_like(scores)

    return answer


def _probabilities(boxes: Boxes) -> Boxes:
    """Softmax; of two classes again by how much the second is ahead."""
    for box, scores in boxes:
        yield box, scores.div_(2).tanh_() if len(scores) == 1 else torch.softmax(scores, dim=0)
