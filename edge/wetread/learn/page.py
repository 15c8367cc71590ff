"""An evaluation or a cross-validation as one HTML page: figures, plots inside it. Nothing is loaded from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from wetread.bundles import Bundle
from wetread.durable import write_atomically
from wetread.errors import Misconfigured
from wetread.learn.crossvalidated import CrossValidation, ScoreFolds
from wetread.learn.evaluate import Evaluation, ScoreEvaluation
from wetread.learn.evaluate_boxes import BoxEvaluation
from wetread.learn.evaluate_masks import MaskEvaluation
from wetread.learn.mask_measures import MaskFigures
from wetread.learn.measured import Measured
from wetread.learn.plots import boxes_of_cases, confusion, fold_dots, froc_curve, precision_recall, reliability, roc

_TITLES = {
    "dice": "Dice",
    "surface_distance_mm": "mean surface distance, mm",
    "hausdorff_95_mm": "Hausdorff distance (95 %), mm",
}


def write_page(evaluation: Measured, path: Path) -> None:
    """Write the page of an evaluation, atomically."""
    match evaluation:
        case Evaluation():
            plots: Any = [_plots(evaluation, index, score) for index, score in enumerate(evaluation.scores)]
            _write("classification", path, evaluation.bundle, evaluation=evaluation, plots=plots)
        case MaskEvaluation():
            names = MaskFigures.__slots__
            plots = _addresses([boxes_of_cases(_values(evaluation, name), _TITLES[name]) for name in names])
            _write(
                "segmentation", path, evaluation.bundle, evaluation=evaluation, plots=plots, names=names, titles=_TITLES
            )
        case BoxEvaluation():
            plots = [_addresses([froc_curve(one.froc, one.name)] if one.froc else []) for one in evaluation.classes]
            _write("detection", path, evaluation.bundle, evaluation=evaluation, plots=plots)
        case _:
            raise Misconfigured(f"there is no page for {type(evaluation).__name__}")


def write_crossvalidation_page(crossed: CrossValidation, path: Path) -> None:
    """Write the page of a cross-validation, atomically."""
    plots = [_fold_plots(crossed, score) for score in crossed.scores]
    _write("crossvalidation", path, crossed.bundle, crossed=crossed, plots=plots)


def _write(template: str, path: Path, bundle: Bundle, **given: Any) -> None:
    environment = Environment(loader=PackageLoader("wetread.learn"), autoescape=select_autoescape())
    page = environment.get_template(f"{template}.html").render(
        bundle=bundle, manifest=bundle.manifest, digest=bundle.digest(), made_at=datetime.now(UTC), **given
    )
    write_atomically(path, lambda target: target.write_text(page, encoding="utf-8"))


def _plots(evaluation: Evaluation, index: int, score: ScoreEvaluation) -> list[str]:
    labels, answers, measured = evaluation.labels[:, index], evaluation.answers[:, index], score.measured
    pictures = [reliability(measured), confusion(measured, score.rule.name)]
    if "auroc" in measured.figures:
        pictures = [roc(labels, answers, measured), precision_recall(labels, answers, measured), *pictures]
    return _addresses(pictures)


def _fold_plots(crossed: CrossValidation, score: ScoreFolds) -> list[str]:
    return _addresses(
        [
            roc(score.labels, score.scores, score.pooled),
            fold_dots({name: [f.figures[name].value for f in score.folds] for name in score.spread}),
            reliability(score.pooled),
            confusion(score.pooled, score.rule.name),
        ]
    )


def _values(evaluation: MaskEvaluation, name: str) -> dict[str, list[float]]:
    """Of each structure, the cases that have the figure."""
    return {
        structure.name: [value for _, of in structure.cases if (value := getattr(of, name)) is not None]
        for structure in evaluation.structures
    }


def _addresses(pictures: list[bytes]) -> list[str]:
    """Data addresses of PNG files."""
    return [f"data:image/png;base64,{b64encode(picture).decode()}" for picture in pictures]
