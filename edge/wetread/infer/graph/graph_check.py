"""What a comparison of an exported graph with PyTorch found; read without torch or ONNX."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from wetread.infer.engines.wish import Precision

FloatArray = npt.NDArray[np.float32]

MIN_SHARE_WITHIN: dict[Precision, float] = {"f32": 0.9999, "f16": 0.999, "bf16": 0.98}
"""Norms over nearly constant channels let single voxels differ more. In half, a steep softmax moves the probabilities
of the few voxels between two labels a lot and hardly a label: a network that ends in one is judged by its bundle's
golden case instead (``Judged``), never by a lower share.
"""
_FARTHEST = 50
"""No value may be farther off than this many limits."""
MIN_SAME_LABEL: dict[Precision, float] = {"f32": 0.9999, "f16": 0.995, "bf16": 0.99}
"""On noise, where many classes are near a tie; masks of real images are held to more by the golden case."""


class Fingerprint(BaseModel):
    """Reference outputs at random places for seeded noise: enough to recognise an engine on another machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: tuple[int, ...]
    """Of the input, batch 1."""
    places: tuple[int, ...]
    """Indices into the flattened answer."""
    values: tuple[float, ...]
    limit: float
    """How far a value may be off."""
    min_share: float
    """Share of the places that must be within: that of the graph, less what a sample may lack by chance."""

    def problem(self, answer: FloatArray) -> str:
        """What is wrong with an engine's answer to ``noise(shape)``, as a sentence; empty when nothing is."""
        flat = answer.ravel()
        if self.places and max(self.places) >= flat.size:
            return f"the answer has {flat.size} values, more than {max(self.places)} are expected"
        found = flat[list(self.places)]
        if not np.isfinite(found).all():
            return "the answer holds values that are not finite"
        off = np.abs(found - np.asarray(self.values, np.float32))
        share = float(np.mean(off <= self.limit))
        if not share >= self.min_share or not float(off.max()) <= _FARTHEST * self.limit:
            return (
                f"{share:.2%} of {len(found)} sampled outputs are within {self.limit:.2g} of the reference, the worst "
                f"is {float(off.max()):.2g} off; at least {self.min_share:.1%} must be within"
            )
        return ""


class GraphCheck(BaseModel):
    """How near ONNX Runtime on the CPU came to PyTorch with one graph; kept beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    """Of the graph."""
    precision: Precision
    checked_with: str
    share_within: float
    """Of the output values within ``fingerprint.limit`` of the reference."""
    max_difference: float
    same_label: float
    """Share of places whose largest channel is the same."""
    batch: int
    """Images asked about together; 2 also shows that the graph takes any batch."""
    fingerprint: Fingerprint
    task: Mapping[str, float] | None = None
    """The bundle's own measures on its golden case with this graph (``Judged.measured``); none: not asked."""
    task_problem: str = ""
    """What of them is outside the tolerance."""

    def problem(self) -> str:
        """What is outside the tolerance of this precision, as a sentence; empty when nothing is.

        Where the golden case was run with the graph, that decides and not how many single values are near.
        """
        limit = self.fingerprint.limit
        if self.task_problem:
            return f"the bundle's golden case comes out otherwise: {self.task_problem}"
        if self.task is None and not self.share_within >= MIN_SHARE_WITHIN[self.precision]:
            needed = MIN_SHARE_WITHIN[self.precision]
            return f"{self.share_within:.4%} of the outputs are within {limit:.2g} of PyTorch's, {needed:.2%} must be"
        if not self.max_difference <= _FARTHEST * limit:
            return f"an output is {self.max_difference:.2g} off PyTorch's, {_FARTHEST * limit:.2g} is allowed"
        if not self.same_label >= MIN_SAME_LABEL[self.precision]:
            return f"{self.same_label:.4%} of the labels agree, {MIN_SAME_LABEL[self.precision]:.2%} must"
        return ""
