"""The part of a model card that comes from a training; the rest of it is written by people and stays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wetread.errors import Misconfigured
from wetread.learn.lineage import METRICS
from wetread.learn.measures import LEVEL, RESAMPLES

_BEGIN, _END = "<!-- figures: written by wetread bundle train -->", "<!-- end of figures -->"
_SHOWN = ("auroc", "auprc", "accuracy", "recall", "specificity", "precision", "f1", "ece", "brier")
_SPREAD_SHOWN = ("auroc", "accuracy", "recall", "specificity")
_SETS = {
    "validation": "validation part",
    "test": "test part",
    "cross_validation": "cross-validation (each case by a network that was not trained on it)",
}


def write_figures(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Put the figures into ``docs/README.md``, between the marks or at its end."""
    path = folder / "docs" / "README.md"
    path.parent.mkdir(exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.is_file() else f"# {folder.name}: model card\n"
    section = "\n".join([_BEGIN, "", *_section(metrics), "", _END])
    marked = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END), re.DOTALL)
    new = marked.sub(lambda _: section, text) if marked.search(text) else f"{text.rstrip()}\n\n{section}\n"
    path.write_text(new, encoding="utf-8")


def record_figures(folder: Path, name: str, figures: Mapping[str, Any]) -> None:
    """Put one part of ``training/metrics.json`` in the place of the old one, and the figures into the card.

    Raises: ``Misconfigured`` where the bundle has no such file.
    """
    path = folder / METRICS
    if not path.is_file():
        raise Misconfigured(f"{path} is missing: figures are recorded beside those of a training")
    metrics = {**json.loads(path.read_text(encoding="utf-8")), name: figures}
    path.write_text(json.dumps(metrics, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    write_figures(folder, metrics)


def _section(metrics: Mapping[str, Any]) -> Iterator[str]:
    yield "**Internal figures, from the data it was made with; not a claim about any other.**"
    yield ""
    yield from _table({name: metrics[name] for name in _SETS if metrics.get(name)})
    yield from _training(metrics)
    yield from _folds(metrics.get("cross_validation") or {})
    if metrics["command"]:
        yield f"* Made with `{metrics['command']}`; all of it is in `training/metrics.json`."
    for note in metrics["notes"]:
        yield f"* {note[0].upper()}{note[1:]}."
    if metrics["epochs"]:
        yield ""
        yield "![learning curves](../training/learning_curves.png)"


def _table(measured: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not measured:
        return
    yield "| | " + " | ".join(f"{_SETS[name]}, n = {m['n']}" for name, m in measured.items()) + " |"
    yield "|---|" + "---|" * len(measured)
    for figure in _SHOWN:
        row = [_cell(m, figure) for m in measured.values()]
        yield f"| {figure} | " + " | ".join(row) + " |"
    yield ""
    level = f"{LEVEL * 100:.0f} % bootstrap intervals, {RESAMPLES} draws of the cases"
    yield f"In brackets: {level}; they say nothing about other sites."
    yield ""


def _training(metrics: Mapping[str, Any]) -> Iterator[str]:
    cases = ", ".join(f"{count} {part}" for part, count in metrics["data"]["cases"].items())
    effort = metrics["effort"]
    yield f"* Trained on {metrics['data']['name']} (SHA-256 `{metrics['data']['sha256'][:16]}…`): {cases} cases."
    if metrics["data"].get("exports"):
        yield f"* Learned from signed reads of a site: export {', '.join(metrics['data']['exports'])}."
    if metrics["epochs"]:
        yield (
            f"* {metrics['epochs']} epochs, weights of epoch {metrics['kept_epoch']}; seed {metrics['seed']}; "
            f"{effort['cpu_s'] / 60:.0f} minutes of CPU time with {effort['threads']} threads at most."
        )
    if metrics["calibration"]:
        c = metrics["calibration"]
        yield (
            f"* Calibration: temperature {c['temperature']:.3f}, offset {c['offset']:+.3f}, for {c['prevalence']:.0%} "
            f"positive cases; present from {c['threshold']:.3f} upwards, the lowest at which {c['specificity']:.0%} of "
            f"the negative validation films{_changed(c['strength'])} are called absent."
        )
    if metrics.get("guard"):
        g = metrics["guard"]
        held = g["false_rejection_validation"]
        seen = "" if held is None else f", {held:.1%} of the validation part"
        yield (
            f"* Guard: from {g['films']} training films; refuses {g['false_rejection_left_out']:.1%} of those it was "
            f"made without{seen}."
        )


def _folds(crossed: Mapping[str, Any]) -> Iterator[str]:
    """Of ``wetread bundle crossvalidate``; the folds of a training say nothing of their own."""
    if not crossed.get("folds"):
        return
    spread = ", ".join(
        f"{name} {s['mean']:.3f} ± {s['deviation']:.3f} ({s['lowest']:.3f} to {s['highest']:.3f})"
        for name in _SPREAD_SHOWN
        if (s := crossed["spread"].get(name))
    )
    yield (
        f"* Cross-validation: {len(crossed['folds'])} folds by patient (films of unnamed patients that look "
        "alike count as of one), each "
        "trained, calibrated and given its threshold without the films it is measured on: networks of their own, not "
        f"the one in this bundle. Mean ± standard deviation (lowest to highest) of the folds: {spread}. "
        f"Made with `{crossed['command']}`."
    )


def _changed(strength: float) -> str:
    return f", changed {strength:g} times as strongly as in training," if strength else ""


def _cell(measured: Mapping[str, Any], figure: str) -> str:
    if figure not in measured["figures"]:
        return "–"
    low, high = measured["intervals_95"][figure]
    return f"{measured['figures'][figure]:.3f} ({low:.3f}–{high:.3f})"
