"""What a detector should have found, from a table of boxes in patient coordinates."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from wetread.bundles.manifest import BoxRule
from wetread.errors import DataUnusable
from wetread.records.output import Box
from wetread.records.volume import Affine

_CENTRE, _SIZE = ("x_mm", "y_mm", "z_mm"), ("width_mm", "height_mm", "depth_mm")
COLUMNS = (*_CENTRE, *_SIZE, "class")


def read_boxes(path: Path, affine: Affine, rules: Sequence[BoxRule]) -> tuple[Box, ...]:
    """One row for each box; a table without rows says that there is nothing to find.

    ``x_mm``, ``y_mm``, ``z_mm``: its centre, in LPS as DICOM has it; ``width_mm``, ``height_mm``, ``depth_mm``: its
    size along them; ``class``: name of the bundle's class, needed where it has several. Returns: the boxes parallel to
    the image's axes that hold them. Raises: ``DataUnusable`` naming file, row and column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream)
            _check_columns(path, table.fieldnames or (), several=len(rules) > 1)
            return tuple(_box(row, affine, rules, f"{path.name} row {n}") for n, row in enumerate(table, start=2))
    except (UnicodeDecodeError, csv.Error) as exc:
        raise DataUnusable(f"{path} cannot be read as a table: {exc}") from exc


def _check_columns(path: Path, columns: Sequence[str], *, several: bool) -> None:
    needed = COLUMNS if several else COLUMNS[:-1]
    missing = [name for name in needed if name not in columns]
    unknown = [name for name in columns if name not in COLUMNS]
    if missing or unknown:
        said = f"lacks the columns {', '.join(missing)}" if missing else f"has unknown columns {', '.join(unknown)}"
        raise DataUnusable(f"{path} {said}; a table of boxes has {', '.join(COLUMNS)}")


def _box(row: Mapping[str, str], affine: Affine, rules: Sequence[BoxRule], where: str) -> Box:
    centre, size = (np.array([_number(row, name, where) for name in names]) for names in (_CENTRE, _SIZE))
    if (size <= 0).any():
        raise DataUnusable(f"{where}: a box is {' × '.join(f'{mm:g}' for mm in size)} mm, all three must be above 0")
    corners = np.array([[*(centre + np.array(side) * size / 2), 1.0] for side in product((-1, 1), repeat=3)])
    indices = (corners @ np.linalg.inv(affine).T)[:, :3]
    low, high = (tuple(float(x) for x in edge) for edge in (indices.min(0), indices.max(0)))
    return Box(low, high, 1.0, _label(row, rules, where))  # type: ignore[arg-type]  # three numbers


def _number(row: Mapping[str, str], name: str, where: str) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = float("nan")
    if not np.isfinite(value):
        raise DataUnusable(f"{where}: {name} = {row[name]!r}, expected a number of mm")
    return value


def _label(row: Mapping[str, str], rules: Sequence[BoxRule], where: str) -> int:
    named = {rule.name: rule.label for rule in rules}
    given = (row.get("class") or "").strip()
    if not given and len(named) == 1:
        return rules[0].label
    if given not in named:
        raise DataUnusable(f"{where}: class {given!r}, expected {', '.join(_quoted(named))}")
    return named[given]


def _quoted(names: Mapping[str, int]) -> Iterator[str]:
    return (repr(name) for name in names)
