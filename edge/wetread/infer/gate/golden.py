"""The case whose answer is known: read from the NIfTI files that ship in the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from wetread.bundles import Bundle
from wetread.bundles.manifest import Golden
from wetread.errors import BundleInvalid, UnsupportedImage
from wetread.nifti import read_nifti, read_nifti_labels
from wetread.records.output import Box, Boxes, Masks, ModelOutput, Scores
from wetread.records.volume import Affine, LabelMap, Volume


def golden_volume(path: Path) -> Volume:
    """The input as a volume without instances. Raises: ``BundleInvalid`` when it cannot be read."""
    with _as_part_of_the_bundle():
        return read_nifti(path)


def golden_volumes(bundle: Bundle, golden: Golden) -> dict[str, Volume]:
    """Every input, by its name. Raises: ``BundleInvalid`` when one cannot be read."""
    files = golden.inputs([rule.name for rule in bundle.manifest.inputs])
    return {name: golden_volume(bundle.folder / file) for name, file in files.items()}


def golden_answer(bundle: Bundle, golden: Golden, affine: Affine) -> ModelOutput:
    """The stored answer. ``affine``: of the first input. Raises: ``BundleInvalid`` when it cannot be read."""
    paths = [bundle.folder / name for name in golden.outputs()]
    if bundle.manifest.overlapping:
        return Masks(np.stack([golden_labels(path) > 0 for path in paths]), affine)
    return golden_output(paths[0], affine)


def golden_output(path: Path, affine: Affine) -> ModelOutput:
    """The stored answer: a label map from a NIfTI file; scores or boxes from ``{"scores": …}`` or ``{"boxes": …}``.

    ``affine``: of the input, on whose grid the answer lies. Raises: ``BundleInvalid`` when it cannot be read.
    """
    if path.suffix != ".json":
        return LabelMap(golden_labels(path), affine)
    try:
        stored = _Stored.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as exc:
        raise BundleInvalid(f"the golden answer {path} cannot be used: {exc}") from exc
    if stored.boxes is not None:
        return Boxes(stored.boxes, affine)
    return Scores(stored.scores or ())


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scores: tuple[float, ...] | None = None
    boxes: tuple[Box, ...] | None = None


def golden_labels(path: Path) -> npt.NDArray[np.uint8]:
    """The stored answer, ``(slice, row, column)``. Raises: ``BundleInvalid`` when it cannot be read."""
    with _as_part_of_the_bundle():
        return read_nifti_labels(path)


@contextmanager
def _as_part_of_the_bundle() -> Iterator[None]:
    try:
        yield
    except UnsupportedImage as exc:
        raise BundleInvalid(f"the golden case cannot be used: {exc}") from exc
