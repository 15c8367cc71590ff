"""Where labelled images come from: a NumPy archive; a folder with ``cases.csv`` and DICOM or NIfTI files; or a folder
of DICOM in which SEG or SR objects are the labels."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from wetread.bundles.bundle import file_sha256
from wetread.bundles.manifest import Manifest
from wetread.errors import DataUnusable, WetreadError
from wetread.learn.cases import Case, Cases, Part, check_same_kind, checked_targets
from wetread.learn.films import is_dicom, read_film, read_series
from wetread.learn.npz import read_npz
from wetread.learn.reference_boxes import read_boxes
from wetread.learn.references import read_references
from wetread.nifti import foreseen_grid, is_nifti, read_nifti, read_nifti_labels
from wetread.records.output import Box
from wetread.records.volume import Affine

TABLE = "cases.csv"
_ABOUT = ("sex", "age_years", "manufacturer", "spacing_mm")
_SAME_PLACE_MM = 0.01
_COLUMNS = ("image", "label", "part", "patient", *_ABOUT)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What was read."""

    path: Path
    sha256: str
    """Of the archive, or over ``cases.csv`` and every file it names."""
    parts: Mapping[Part, Cases]
    """As the source has them; empty where it does not say."""
    unsplit: Cases = ()
    """Cases that the source puts into no part."""
    notes: tuple[str, ...] = ()
    """What was passed over, and why."""


def read_source(path: Path | Source, manifest: Manifest, *, unverified: bool = False) -> Source:
    """Read a NumPy archive (``.npz``), a folder with ``cases.csv``, or one of DICOM with SEG or SR.

    What was read already is given back. ``unverified``: see ``read_references``.

    The table has the columns ``image`` (a path in the folder: a DICOM film, a NIfTI volume, or a folder with one DICOM
    series), ``label`` (0 or 1; of a bundle with several scores one column for each, by its name; of a segmentation the
    path of a NIfTI label map; of a detector the path of a table of boxes, see ``reference_boxes``) and, if known,
    ``part``, ``patient``, ``sex``, ``age_years``, ``manufacturer``, ``spacing_mm``. What a DICOM file says itself need
    not stand in the table.
    Raises: ``DataUnusable`` naming the file, row and column.
    """
    if isinstance(path, Source):
        return path
    if path.is_file() and path.suffix == ".npz":
        if not manifest.scores:
            does = "segments" if manifest.labels else "detects"
            raise DataUnusable(f"{path.name} is a NumPy archive, this bundle {does}: give a folder with {TABLE}")
        return Source(path, file_sha256(path), read_npz(path, scores=len(manifest.scores)))
    if (path / TABLE).is_file():
        return _Table(path, manifest).read()
    if not path.exists():
        raise DataUnusable(f"there is no {path}")
    if not manifest.boxes and path.is_dir() and any(is_dicom(file) for file in path.rglob("*") if file.is_file()):
        found = read_references(path, manifest, unverified=unverified)
        return Source(path, found.sha256, {}, found.cases, found.notes)
    if manifest.boxes:
        raise DataUnusable(f"{path} has no {TABLE}, which names the table of boxes of each image")
    raise DataUnusable(f"{path} is neither a NumPy archive (.npz) nor a folder with {TABLE} or with DICOM files")


class _Table:
    """One folder with its table."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder, self._manifest = folder, manifest
        self._digest = hashlib.sha256()
        self._names = [rule.name for rule in manifest.scores]

    def read(self) -> Source:
        """Every row. Raises: ``DataUnusable``."""
        path = self._folder / TABLE
        self._digest.update(path.read_bytes())
        try:
            with path.open(newline="", encoding="utf-8-sig") as stream:
                table = csv.DictReader(stream)
                self._check_columns(table.fieldnames or ())
                rows = [(number, row) for number, row in enumerate(table, start=2)]
        except (UnicodeDecodeError, csv.Error) as exc:
            raise DataUnusable(f"{path} cannot be read as a table: {exc}") from exc
        cases: dict[str, list[Case]] = {}
        for number, row in rows:
            part = (row.get("part") or "").strip()
            if part and part not in get_args(Part):
                raise DataUnusable(
                    f"{TABLE} row {number}: part {part!r}, expected {', '.join(get_args(Part))} or nothing"
                )
            cases.setdefault(part, []).append(self._case(number, row))
        check_same_kind([case for some in cases.values() for case in some])
        unsplit = tuple(cases.pop("", ()))
        parts = {part: tuple(cases[part]) for part in get_args(Part) if part in cases}
        return Source(self._folder, self._digest.hexdigest(), parts, unsplit)

    def _check_columns(self, given: object) -> None:
        columns = tuple(given) if isinstance(given, (list, tuple)) else ()
        needed = ["image", *(self._names if self._several else ["label"])]
        missing = [name for name in needed if name not in columns]
        unknown = [name for name in columns if name not in (*_COLUMNS, *self._names)]
        if missing or unknown:
            said = f"lacks the columns {', '.join(missing)}" if missing else f"has unknown columns {', '.join(unknown)}"
            raise DataUnusable(f"{self._folder / TABLE} {said}; it may have {', '.join((*_COLUMNS, *self._names))}")

    @property
    def _several(self) -> bool:
        return len(self._names) > 1

    def _case(self, number: int, row: Mapping[str, str]) -> Case:
        where = f"{TABLE} row {number}"
        path = self._path(row["image"], where)
        try:
            image, affine, patient, about = self._image(path)
        except DataUnusable:
            raise
        except WetreadError as exc:
            raise DataUnusable(f"{where}: {exc}") from exc
        about = {name: given for name in _ABOUT if (given := (row.get(name) or "").strip() or about.get(name, ""))}
        patient = (row.get("patient") or "").strip() or patient
        case = Case(path.name, image, affine=affine, patient=patient, about=about)
        if self._manifest.labels:
            return replace(case, mask=self._mask(row["label"], case, where))
        if self._manifest.boxes:
            return replace(case, boxes=self._boxes(row["label"], case, where))
        return replace(case, targets=self._targets(row, where))

    def _path(self, given: str, where: str) -> Path:
        path = (self._folder / given).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            raise DataUnusable(f"{where}: {given!r} lies outside of the folder")
        if not path.exists():
            raise DataUnusable(f"{where}: there is no {given!r} in {self._folder}")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                self._digest.update(file_sha256(file).encode())
        return path

    def _image(self, path: Path) -> tuple[npt.NDArray[np.float32], Affine | None, str, dict[str, str]]:
        if path.is_dir():
            volume, patient, about = read_series(path)
            return volume.array, volume.affine, patient, about
        if is_nifti(path):
            volume = read_nifti(path)
            return volume.array, volume.affine, "", {}
        if is_dicom(path):
            film, patient, about = read_film(path)
            return film, None, patient, about
        raise DataUnusable(f"{path.name} is neither a DICOM file nor NIfTI, nor a folder with a DICOM series")

    def _boxes(self, given: str, case: Case, where: str) -> tuple[Box, ...]:
        if case.affine is None:
            raise DataUnusable(f"{where}: {case.name} is a film; boxes are measured on volumes")
        return read_boxes(self._path(given, where), case.affine, self._manifest.boxes)

    def _mask(self, given: str, case: Case, where: str) -> npt.NDArray[np.uint8]:
        path = self._path(given, where)
        mask = read_nifti_labels(path)
        if mask.shape != case.image.shape:
            raise DataUnusable(f"{where}: the label map is {mask.shape}, the image {case.image.shape}")
        if case.affine is not None and not np.allclose(foreseen_grid(path)[1], case.affine, atol=_SAME_PLACE_MM):
            raise DataUnusable(f"{where}: the label map lies elsewhere than the image; bring it onto the image's grid")
        known = {0, *(label.bundle_value or label.value for label in self._manifest.labels)}
        wrong = sorted(set(np.unique(mask).tolist()) - known)
        if wrong:
            raise DataUnusable(f"{where}: the label map holds {wrong}, the bundle has {sorted(known)}")
        return mask

    def _targets(self, row: Mapping[str, str], where: str) -> tuple[int, ...]:
        columns = self._names if self._several else ["label"]
        try:
            values = np.array([[int(row[name]) for name in columns]])
        except (TypeError, ValueError) as exc:
            given = ", ".join(f"{name} = {row[name]!r}" for name in columns)
            raise DataUnusable(f"{where}: {given}, expected 0 (absent) or 1 (present)") from exc
        return checked_targets(values, scores=len(self._names), where=where)[0]
