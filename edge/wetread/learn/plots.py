"""Figures as PNG: learning curves, ROC, precision and recall, reliability, confusion matrix. matplotlib draws."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

from wetread.learn.mask_measures import FALSE_POSITIVES, Froc
from wetread.learn.measures import Classification, Labels, Probabilities

_BLUE, _ORANGE, _GREY = "#0b6e99", "#c8590a", "#9a9a9a"
_DPI = 130


def learning_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Loss, validation figures and learning rate over the epochs."""
    epochs = [entry["epoch"] for entry in history]
    figures = (
        [name for name in history[0] if name not in ("epoch", "loss", "learning_rate", "seconds")] if history else []
    )
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    _curve(axes[0], epochs, [entry["loss"] for entry in history], "training loss", _BLUE)
    for name, colour in zip(figures, (_ORANGE, _BLUE, _GREY), strict=False):
        _curve(axes[1], epochs, [entry[name] for entry in history], name.replace("_", " "), colour)
    _curve(axes[2], epochs, [entry["learning_rate"] for entry in history], "learning rate", _GREY)
    path.write_bytes(_png(figure))


def _curve(axis: Any, epochs: Sequence[float], values: Sequence[float], label: str, colour: str) -> None:
    axis.plot(epochs, values, color=colour, label=label, marker="." if len(epochs) < 3 else None)
    axis.set_xlabel("epoch")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)


def roc(labels: Labels, scores: Probabilities, measured: Classification) -> bytes:
    """The ROC curve with the operating point."""

    def draw(axis: Any) -> None:
        RocCurveDisplay.from_predictions(labels, scores, ax=axis, curve_kwargs={"color": _BLUE}, plot_chance_level=True)
        specificity, recall = measured.figures["specificity"].value, measured.figures["recall"].value
        axis.plot([1 - specificity], [recall], "o", color=_ORANGE, label=f"at {measured.threshold:.3f}")
        axis.set(xlabel="1 − specificity", ylabel="recall (sensitivity)", title="ROC")

    return _square(draw)


def precision_recall(labels: Labels, scores: Probabilities, measured: Classification) -> bytes:
    """Precision over recall with the operating point."""

    def draw(axis: Any) -> None:
        PrecisionRecallDisplay.from_predictions(labels, scores, ax=axis, curve_kwargs={"color": _BLUE})
        if "precision" in measured.figures:  # something was called present
            recall, precision = measured.figures["recall"].value, measured.figures["precision"].value
            axis.plot([recall], [precision], "o", color=_ORANGE, label=f"at {measured.threshold:.3f}")
        axis.set(xlabel="recall (sensitivity)", ylabel="precision", title="Precision and recall")

    return _square(draw)


def reliability(measured: Classification) -> bytes:
    """What was said against how often it was so; the area of a point is the number of cases."""

    def draw(axis: Any) -> None:
        axis.plot([0, 1], [0, 1], "--", color=_GREY, label="as said")
        points = measured.reliability
        size = [12 + 220 * p.n / measured.n for p in points]
        said, so = [p.mean_score for p in points], [p.share_positive for p in points]
        axis.plot(said, so, color=_BLUE, linewidth=1)
        axis.scatter(said, so, s=size, color=_BLUE, label="cases")
        axis.set(
            xlabel="mean score", ylabel="share positive", title="Reliability", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04)
        )

    return _square(draw)


def confusion(measured: Classification, name: str) -> bytes:
    """Counts at the threshold."""

    def draw(axis: Any) -> None:
        negative, false_alarm, missed, found = measured.confusion
        import numpy as np

        table = np.array([[negative, false_alarm], [missed, found]])
        display = ConfusionMatrixDisplay(table, display_labels=["absent", "present"])
        display.plot(ax=axis, colorbar=False, cmap="Blues")
        axis.set(xlabel="the bundle said", ylabel="the label says", title=f"{name} at {measured.threshold:.3f}")

    return _square(draw, legend=False)


def fold_dots(values: Mapping[str, Sequence[float]]) -> bytes:
    """Each figure with one dot for each fold, and a bar at their mean."""

    def draw(axis: Any) -> None:
        for row, given in enumerate(values.values()):
            axis.plot(given, [row] * len(given), "o", color=_BLUE, alpha=0.6)
            axis.plot([sum(given) / len(given)], [row], "|", color=_ORANGE, markersize=18)
        axis.set(yticks=range(len(values)), yticklabels=list(values), title="Folds, and their mean")
        axis.invert_yaxis()
        axis.grid(axis="x", color="#e4e4e4")

    return _square(draw, legend=False)


def boxes_of_cases(values: Mapping[str, Sequence[float]], title: str) -> bytes:
    """Box plots of one figure, a box for each structure and a dot for each case."""
    figure = Figure(figsize=(3.9, max(2.2, 0.9 + 0.32 * len(values))), layout="constrained")
    axis = figure.subplots()
    known = {name: given for name, given in values.items() if len(given)}
    if known:
        axis.boxplot(list(known.values()), orientation="horizontal", tick_labels=list(known), showfliers=False)
        for row, given in enumerate(known.values(), start=1):
            axis.plot(given, [row] * len(given), ".", color=_BLUE, alpha=0.6)
        axis.invert_yaxis()
    else:
        axis.text(0.5, 0.5, "no case has it", ha="center")
    axis.set_title(title)
    axis.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def froc_curve(curve: Froc, name: str) -> bytes:
    """Sensitivity over false detections for each image, as far as they go."""

    def draw(axis: Any) -> None:
        axis.step(curve.false_positives, curve.sensitivity, where="post", color=_BLUE)
        axis.plot(curve.false_positives, curve.sensitivity, ".", color=_BLUE)
        axis.set(
            xlabel="false detections for each image",
            ylabel="sensitivity",
            title=f"FROC: {name}",
            xlim=(0, max(FALSE_POSITIVES)),
            ylim=(-0.04, 1.04),
        )

    return _square(draw, legend=False)


def _square(draw: Callable[[Any], None], *, legend: bool = True) -> bytes:
    figure = Figure(figsize=(3.9, 3.7), layout="constrained")
    axis = figure.subplots()
    draw(axis)
    if legend:
        axis.legend(frameon=False, fontsize=8)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    """Without metadata about library versions and time: the same figures are the same file."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()
