"""The case whose answer is known: read from the NIfTI files, or PNG of a radiograph, that ship in the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, ValidationError

from wetread.bundles import Bundle
from wetread.bundles.manifest import Golden
from wetread.errors import BundleInvalid, UnsupportedImage
from wetread.nifti import read_nifti, read_nifti_labels
from wetread.records.model_input import ModelInput
from wetread.records.output import Box, Boxes, Masks, ModelOutput, Scores
from wetread.records.radiograph import Radiograph, Turn
from wetread.records.study import InstanceRef, SeriesRef
from wetread.records.volume import Affine, LabelMap, Volume


def golden_volume(path: Path) -> Volume:
    """The input as a volume without instances. Raises: ``BundleInvalid`` when it cannot be read."""
    with _as_part_of_the_bundle():
        return read_nifti(path)


def golden_film(path: Path) -> Radiograph:
    """The input as a film without an instance, from a grey PNG: as displayed, 0 is black, the largest value white.

    Raises: ``BundleInvalid`` when it cannot be read or is not grey.
    """
    try:
        with Image.open(path) as picture:
            mode, pixels = picture.mode, np.asarray(picture)
    except (OSError, UnidentifiedImageError) as exc:
        raise BundleInvalid(f"the golden input {path} cannot be read: {exc}") from exc
    if mode not in _WHITE:
        raise BundleInvalid(f"the golden input {path} is a picture of mode {mode}, a grey one was expected")
    return film_of((pixels / _WHITE[mode]).astype(np.float32), label=path.name)


_WHITE = {"L": 255.0, "I;16": 65535.0, "I;16B": 65535.0, "I": 65535.0}
"""Pillow's grey modes, with 8 and 16 bits, and their white."""


def film_of(array: npt.NDArray[np.float32], *, label: str) -> Radiograph:
    """A film that came from no DICOM instance: ``(row, column)``, 0 to 1, upright."""
    instance = InstanceRef("", "", Path(label), "")
    series = SeriesRef("", "", (instance,), description=label)
    return Radiograph(array, np.zeros(array.shape, np.bool_), Turn(), series, instance, spacing_mm=None)


def golden_images(bundle: Bundle, golden: Golden) -> dict[str, ModelInput]:
    """Every input, by its name. Raises: ``BundleInvalid`` when one cannot be read."""
    files = golden.inputs([rule.name for rule in bundle.manifest.inputs])
    kinds = {rule.name: rule.kind for rule in bundle.manifest.inputs}
    return {
        name: golden_film(bundle.folder / file) if kinds[name] == "radiograph" else golden_volume(bundle.folder / file)
        for name, file in files.items()
    }


def golden_answer(bundle: Bundle, golden: Golden, image: ModelInput) -> ModelOutput:
    """The stored answer. ``image``: the first input. Raises: ``BundleInvalid`` when it cannot be read."""
    affine = np.eye(4) if isinstance(image, Radiograph) else image.affine
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
