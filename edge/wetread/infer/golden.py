"""The case whose answer is known: read from the NIfTI files that ship in the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wetread.errors import BundleInvalid, UnsupportedImage
from wetread.nifti import read_nifti, read_nifti_labels
from wetread.records.volume import Volume


def golden_volume(path: Path) -> Volume:
    """The input as a volume without instances. Raises: ``BundleInvalid`` when it cannot be read."""
    with _as_part_of_the_bundle():
        return read_nifti(path)


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
