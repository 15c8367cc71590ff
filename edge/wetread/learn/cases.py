"""Labelled images, whatever file they came from: what is learned from and measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from wetread.errors import DataUnusable
from wetread.records.numbers import number_of
from wetread.records.output import Box
from wetread.records.volume import Affine

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One image with what a person said about it."""

    name: str
    """How a message calls it: a file, or its number in an archive; never a patient's name."""
    image: npt.NDArray[np.float32]
    """``(row, column)`` as displayed, 0 to 1, of a radiograph; ``(slice, row, column)`` of a volume."""
    targets: tuple[int, ...] = ()
    """0 or 1 for each score of the bundle, in its order."""
    mask: npt.NDArray[np.uint8] | None = None
    """Of a segmentation: the label map on the grid of ``image``."""
    affine: Affine | None = None
    """Of a volume: indices ``(slice, row, column)`` to LPS mm."""
    patient: str = ""
    """The same for all images of one patient, in every part; empty: not known."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What is known for subgroups: ``sex``, ``age_years``, ``manufacturer``, ``spacing_mm``."""
    boxes: tuple[Box, ...] | None = None
    """Of a detection: what is to be found, on the grid of ``image``, with a score of 1."""


Cases = tuple[Case, ...]


def check_part(cases: Sequence[Case], part: str, names: Sequence[str]) -> None:
    """Refuse a part in which a class has no case; ``names``: of the bundle's scores.

    Raises: ``DataUnusable``.
    """
    if not cases:
        raise DataUnusable(f"the {part} part holds no images")
    for index, name in enumerate(names):
        positive = sum(case.targets[index] for case in cases)
        if positive in (0, len(cases)):
            only = "with" if positive else "without"
            raise DataUnusable(
                f"all {number_of(len(cases), 'case')} of the {part} part are {only} {name.lower()}, both kinds were "
                "expected: nothing can be learned or ranked from one class; add cases or split anew"
            )


def checked_targets(labels: npt.NDArray[np.generic], *, scores: int, where: str) -> list[tuple[int, ...]]:
    """Labels as 0 or 1 for each score: ``(case,)`` or ``(case, 1)`` for one score, ``(case, score)`` for several.

    Raises: ``DataUnusable`` for another shape, and for values other than 0 and 1.
    """
    flat = labels.reshape(len(labels), -1) if labels.size else labels.reshape(len(labels), scores)
    if flat.shape[1] != scores:
        raise DataUnusable(
            f"{where} has the shape {labels.shape}, expected one value for each of the bundle's {scores} scores"
        )
    is_number = np.issubdtype(flat.dtype, np.number) or flat.dtype == np.bool_
    wrong = flat[~np.isin(flat, (0, 1))] if is_number else flat
    if wrong.size:
        kind = "" if is_number else "text: "
        values = np.unique(wrong).tolist()
        more = f" and {len(values) - 5} more" if len(values) > 5 else ""
        raise DataUnusable(
            f"{where} holds {kind}{', '.join(map(repr, values[:5]))}{more}; "
            "expected the numbers 0 (absent) and 1 (present)"
        )
    return [tuple(int(value) for value in row) for row in flat]


def check_same_kind(cases: Sequence[Case]) -> None:
    """Refuse films beside volumes. Raises: ``DataUnusable``."""
    kinds = {case.image.ndim: case.name for case in cases}
    if len(kinds) > 1:
        raise DataUnusable(f"films and volumes are mixed: {kinds.get(2)} and {kinds.get(3)}; a bundle reads one kind")


def known(cases: Sequence[Case], attribute: str) -> bool:
    """Whether at least one case says something about ``attribute``."""
    return any(case.about.get(attribute) for case in cases)
