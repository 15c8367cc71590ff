"""NumPy archives as MedMNIST has them: ``train_images`` and ``train_labels``, ``val_…``, ``test_…``."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from wetread.errors import DataUnusable
from wetread.learn.cases import PARTS, Case, Cases, Part, checked_targets
from wetread.records.numbers import number_of

_OPTIONAL = ("sex", "age_years", "manufacturer", "spacing_mm")
_RANGES = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


def read_npz(path: Path, *, scores: int) -> dict[Part, Cases]:
    """The parts that the archive has. ``scores``: how many the bundle gives.

    Images are grey, ``(case, row, column)``; uint8 and uint16 are taken as 0 to 255 and 0 to 65535, floats as 0 to 1.
    Optional: ``train_patients`` and the like, ``train_sex``, ``train_age_years``, ``train_manufacturer``,
    ``train_spacing_mm``. Raises: ``DataUnusable``.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {part: _part(archive, part, path, scores) for part in PARTS if f"{part}_images" in archive}
    except DataUnusable:
        raise
    except (OSError, BadZipFile, ValueError, EOFError) as exc:
        hint = "; images of mixed sizes need one file each and a cases.csv" if "Object arrays" in str(exc) else ""
        why = "it is none, or holds pickled objects, which are never loaded" if "pickled" in str(exc) else str(exc)
        raise DataUnusable(f"{path} cannot be read as a NumPy archive: {why}{hint}") from exc
    if not found:
        raise DataUnusable(f"{path} has none of {', '.join(f'{part}_images' for part in PARTS)}")
    return found


def _part(archive: np.lib.npyio.NpzFile, part: Part, path: Path, scores: int) -> Cases:
    where = f"{path.name}: {part}_labels"
    if f"{part}_labels" not in archive:
        raise DataUnusable(f"{where} is missing, {part}_images is there")
    images, labels = archive[f"{part}_images"], archive[f"{part}_labels"]
    if len(images) != len(labels):
        raise DataUnusable(
            f"{where} has {number_of(len(labels), 'entry', 'entries')} for {number_of(len(images), 'image')}"
        )
    targets = checked_targets(labels, scores=scores, where=where)
    grey = _grey(images, f"{path.name}: {part}_images")
    columns = {
        name: archive[f"{part}_{name}"].reshape(-1) for name in ("patients", *_OPTIONAL) if f"{part}_{name}" in archive
    }
    for name, column in columns.items():
        if len(column) != len(images):
            raise DataUnusable(
                f"{path.name}: {part}_{name} has {number_of(len(column), 'entry', 'entries')} for "
                f"{number_of(len(images), 'image')}"
            )
    return tuple(
        Case(
            name=f"{part} {number}",
            image=image,
            targets=given,
            patient=str(columns["patients"][number]) if "patients" in columns else "",
            about={name: str(columns[name][number]) for name in _OPTIONAL if name in columns},
        )
        for number, (image, given) in enumerate(zip(grey, targets, strict=True))
    )


def _grey(images: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.float32]:
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.ndim != 3:
        raise DataUnusable(f"{where} has the shape {images.shape}, expected grey images (case, row, column)")
    if images.dtype in _RANGES:
        return np.asarray(images, np.float32) / np.float32(_RANGES[images.dtype])
    grey = np.asarray(images, np.float32) if np.issubdtype(images.dtype, np.floating) else None
    if grey is None or not np.isfinite(grey).all() or grey.min(initial=0) < 0 or grey.max(initial=0) > 1:
        raise DataUnusable(f"{where} is {images.dtype}; expected uint8, uint16, or floats that all lie in 0 to 1")
    return grey
