"""Who is learned from and who is not: parts are made by patient, and no patient may be in two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, vstack
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from wetread.errors import DataUnusable
from wetread.guard.appearance import picture
from wetread.learn.cases import Case, Cases, Part
from wetread.records.numbers import number_of

ALIKE = 0.93
"""Correlation of two films, as the guard sees them, from which they may be of one patient: a copy, or taken again."""
_BLOCK = 1024
_NAMED = 3


def check_leaks(parts: Mapping[Part, Cases]) -> tuple[str, ...]:
    """Refuse a patient who is in two parts, and an image that is.

    Returns: what could not be checked, as sentences. Raises: ``DataUnusable`` with the number of both, and the cases.
    """
    names = list(parts)
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            _check_two(first, parts[first], second, parts[second])
    unknown = sum(not case.patient for cases in parts.values() for case in cases)
    if unknown:
        return (
            f"{number_of(unknown, 'case names', 'cases name')} no patient: that no patient is in two parts is "
            "not known, only that no image is",
        )
    return ()


def split(cases: Cases, *, seed: int, folds: int = 5) -> dict[Part, Cases]:
    """Train and validation by patient, the classes as alike as that allows; one fold of ``folds`` validates.

    A case without a patient counts as a patient of its own. Raises: ``DataUnusable`` for too few patients.
    """
    train, val = next(iter(fold_indices(cases, folds=folds, seed=seed)))
    return {"train": tuple(cases[i] for i in train), "val": tuple(cases[i] for i in val)}


def fold_indices(cases: Sequence[Case], *, folds: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Indices of the train and validation cases of each fold, by patient; films that look alike stay together, too.

    Raises: ``DataUnusable``.
    """
    groups = _patients(cases)
    patients = len(set(groups.tolist()))
    if patients < folds:
        raise DataUnusable(
            f"{number_of(len(cases), 'case')} of {number_of(patients, 'patient')} cannot be split into {folds} folds "
            "by patient"
        )
    strata: npt.NDArray[np.int64] = np.array([_stratum(case) for case in cases])
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return [(train.tolist(), val.tolist()) for train, val in splitter.split(strata, strata, groups)]


def _patients(cases: Sequence[Case]) -> npt.NDArray[np.str_]:
    """``(case,)``: who it is. Films that name nobody and correlate by ``ALIKE`` or more count as of one patient."""
    names = np.array([case.patient or f"case {number}" for number, case in enumerate(cases)], object)
    films = [number for number, case in enumerate(cases) if not case.patient and case.image.ndim == 2]
    if films:
        pictures = np.stack([picture(cases[number].image).reshape(-1) for number in films])
        names[films] = [f"alike {group}" for group in _alike(pictures)]
    return np.asarray(names, np.str_)


def _alike(pictures: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """``(picture,)``: number of the group, which a chain of pairs joins; ``pictures``: ``(picture, pixel)``."""
    centred = pictures - pictures.mean(1, keepdims=True)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    near = [csr_array(centred[start : start + _BLOCK] @ centred.T >= ALIKE) for start in range(0, len(centred), _BLOCK)]
    groups: npt.NDArray[np.int32] = connected_components(vstack(near), directed=False)[1]
    return groups


def _stratum(case: Case) -> int:
    return case.targets[0] if case.targets else int(case.mask is not None and bool(case.mask.any()))


def _check_two(first: str, these: Cases, second: str, those: Cases) -> None:
    patients = {case.patient for case in these if case.patient} & {case.patient for case in those if case.patient}
    if patients:
        cases = [case.name for case in those if case.patient in patients]
        raise DataUnusable(
            f"{number_of(len(patients), 'patient is', 'patients are')} in both the {first} and the {second} part, "
            f"such as in {_some(cases)}: what is measured there would be remembered, not recognised; put all images of "
            "a patient into one part"
        )
    seen = {case.image.tobytes() for case in these}
    same = [case.name for case in those if case.image.tobytes() in seen]
    if same:
        raise DataUnusable(
            f"{number_of(len(same), 'image is', 'images are')} in both the {first} and the {second} part, such as "
            f"{_some(same)}; take them out"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
