"""How often each training film is drawn, so that its looks say less about its label.

Where films of one label come from another machine or another time, grey values and sharpness alone tell the label; a
network learns that first, and fails elsewhere. Films are grouped by what a straight line through such statistics says
about their label, and each pair of group and label is drawn more evenly than it occurs (Idrissi et al. 2022).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_GROUP_BORDERS = (0.1, 0.2, 0.3, 0.5, 0.75)
"""Quantiles of what the straight line says."""
_FEWEST = 20
"""A group and label of fewer films counts as one of so many: a single film is not drawn again and again."""


def appearance_weights(dataset: Sequence[Mapping[str, Any]], key: str = "image") -> torch.Tensor:
    """``(case,)``, for ``torch.utils.data.WeightedRandomSampler``: one over the root of the size of group and label."""
    images = np.stack([np.asarray(torch.as_tensor(item[key])[0], np.float64) for item in dataset])
    labels = np.array([int(item["label"].reshape(-1)[0]) for item in dataset])
    said = _said_by_appearance(images, labels)
    groups = np.digitize(said, np.quantile(said, _GROUP_BORDERS))
    weights = np.empty(len(labels))
    for group in np.unique(groups):
        for label in (0, 1):
            inside = (groups == group) & (labels == label)
            weights[inside] = 1 / np.sqrt(max(int(inside.sum()), _FEWEST))
    return torch.from_numpy(weights)


def appearance(images: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``(case, statistic)`` of ``(case, row, column)``: percentiles of grey values, and how sharp the film is."""
    flat = images.reshape(len(images), -1)
    even = (images - images.mean((1, 2), keepdims=True)) / (images.std((1, 2), keepdims=True) + 1e-6)
    sharp = [np.abs(np.diff(even, axis=axis, n=n)).mean((1, 2)) for axis, n in ((1, 1), (2, 1), (2, 2))]
    return np.column_stack([*np.percentile(flat, _PERCENTILES, axis=1), *sharp])


def _said_by_appearance(images: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The probability of label 1, each film by a line that was fitted without it."""
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    folds = min(5, int(np.bincount(labels, minlength=2).min()))
    if folds < 2:
        return np.zeros(len(labels))
    return np.asarray(cross_val_predict(line, appearance(images), labels, cv=folds, method="predict_proba")[:, 1])
