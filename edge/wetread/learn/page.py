"""An evaluation as one HTML page: figures, plots inside it, subgroups. Nothing is loaded from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from wetread.durable import write_atomically
from wetread.learn.evaluate import Evaluation, ScoreEvaluation
from wetread.learn.plots import confusion, precision_recall, reliability, roc


def write_page(evaluation: Evaluation, path: Path) -> None:
    """Write the page, atomically."""
    environment = Environment(loader=PackageLoader("wetread.learn"), autoescape=select_autoescape())
    page = environment.get_template("evaluation.html").render(
        evaluation=evaluation,
        manifest=evaluation.bundle.manifest,
        digest=evaluation.bundle.digest(),
        made_at=datetime.now(UTC),
        plots=[_plots(evaluation, index, score) for index, score in enumerate(evaluation.scores)],
    )
    write_atomically(path, lambda target: target.write_text(page, encoding="utf-8"))


def _plots(evaluation: Evaluation, index: int, score: ScoreEvaluation) -> list[str]:
    """Data addresses of PNG files."""
    labels, answers, measured = evaluation.labels[:, index], evaluation.answers[:, index], score.measured
    pictures = [reliability(measured), confusion(measured, score.rule.name)]
    if "auroc" in measured.figures:
        pictures = [roc(labels, answers, measured), precision_recall(labels, answers, measured), *pictures]
    return [f"data:image/png;base64,{b64encode(picture).decode()}" for picture in pictures]
