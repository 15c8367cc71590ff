"""``wetread bundle crossvalidate``: how good a bundle's training is on patients that it has not seen, fold by fold.

cases ─▶ folds by patient ─▶ (train on the others, calibrate on a tenth of them, read the fold) × folds ─▶ measures

The fold that is left out decides nothing: neither weights nor calibration nor threshold. Where a training begins with
another bundle's weights, each fold begins with those that the same fold gave; otherwise films would leak through them.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wetread.bundles import Bundle, load_bundle
from wetread.bundles.trust import TrustPolicy
from wetread.durable import make_folder, write_atomically
from wetread.errors import DataUnusable, Misconfigured
from wetread.learn.average import average
from wetread.learn.cases import Cases, check_part
from wetread.learn.crossvalidated import CrossValidation, FoldAnswers
from wetread.learn.evaluate import NO_THRESHOLD, read_films
from wetread.learn.lineage import METRICS
from wetread.learn.measured import HowRead
from wetread.learn.run import Trainee
from wetread.learn.settings import TrainingSettings
from wetread.learn.sources import Source, read_source
from wetread.learn.splits import fold_indices, split
from wetread.learn.train import Material, train_on
from wetread.progress import Progress, unheard

PLAN = "folds.json"
_INNER_FOLDS = 10
"""Of the cases that are not left out, one in so many calibrates, as in the published parts."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Which cases are left out when: the same for every bundle that is cross-validated into one folder."""

    source: Source
    cases: Cases
    """Train and validation part together; the test part is not touched."""
    seed: int
    left_out: tuple[tuple[int, ...], ...]
    """Of each fold, indices into ``cases``."""

    def material(self, number: int) -> Material:
        """Train and validation of fold ``number`` (from 1), by patient, without the cases that it leaves out."""
        outside = set(self.left_out[number - 1])
        inside = tuple(case for index, case in enumerate(self.cases) if index not in outside)
        return Material(self.source, split(inside, seed=self.seed, folds=_INNER_FOLDS))

    def fold(self, number: int) -> Cases:
        """The cases that fold ``number`` leaves out."""
        return tuple(self.cases[index] for index in self.left_out[number - 1])

    def document(self) -> dict[str, Any]:
        """What must be the same for all bundles of one folder."""
        folds = [list(indices) for indices in self.left_out]
        return {"data_sha256": self.source.sha256, "seed": self.seed, "left_out": folds}


def make_plan(bundle: Bundle, settings: TrainingSettings) -> Plan:
    """Folds of the data by patient. Raises: ``DataUnusable``, ``Misconfigured``."""
    if not bundle.manifest.scores or len(bundle.manifest.inputs) != 1:
        raise Misconfigured(f"bundle {bundle.name} is no classifier of one image; only those are cross-validated")
    if settings.folds < 2:
        raise Misconfigured(f"--folds {settings.folds}: expected at least 2")
    source = read_source(settings.data, bundle.manifest, unverified=settings.unverified)
    cases = (*source.parts.get("train", ()), *source.parts.get("val", ()), *source.unsplit)
    if not cases:
        raise DataUnusable(f"{source.path} has no train part and no val part, only {', '.join(source.parts)}")
    left_out = tuple(tuple(val) for _, val in fold_indices(cases, folds=settings.folds, seed=settings.seed))
    plan = Plan(source, cases, settings.seed, left_out)
    names = [rule.name for rule in bundle.manifest.scores]
    for number in range(1, settings.folds + 1):
        parts = plan.material(number).parts
        for name, some in (("train", parts["train"]), ("val", parts["val"]), ("left-out", plan.fold(number))):
            check_part(some, f"{name} (fold {number})", names)
    return plan


def cross_validate(
    bundle: Bundle,
    settings: TrainingSettings,
    *,
    members: Sequence[str] = (),
    command: tuple[str, ...] = (),
    trust: TrustPolicy | None = None,
    progress: Progress = unheard,
) -> CrossValidation:
    """Train and measure each fold that is not on disk yet, in ``settings.out``; then all of them together.

    ``settings.start_from``, ``members``: bundles that were cross-validated into the same folder: with whose weights, of
    the same fold, training begins; and whose mean the bundle is (nothing is trained then).
    Raises: ``Misconfigured``, and what ``train`` raises.
    """
    progress("reading data", 0.0)
    plan = make_plan(bundle, settings)
    _keep_plan(plan, settings.out)
    folds = _Folds(bundle, settings, plan, tuple(members), trust, progress)
    done = tuple(folds.fold(number) for number in range(1, settings.folds + 1))
    progress("resampling", 1.0)
    return CrossValidation.of(bundle, plan.source, plan.cases, done, seed=plan.seed, command=command)


@dataclass(frozen=True, slots=True)
class _Folds:
    """One bundle over all folds."""

    bundle: Bundle
    settings: TrainingSettings
    plan: Plan
    members: tuple[str, ...]
    trust: TrustPolicy | None
    tell: Progress

    def fold(self, number: int) -> FoldAnswers:
        """From disk, or trained and read now."""
        folder = self.settings.out / f"fold{number}"
        path, run = folder / f"{self.bundle.name}.json", self._digest(number)
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"run": run}
        if stored["run"] != run:
            raise Misconfigured(
                f"{path} is of another configuration, other settings or other weights to begin with: name another "
                "--out, or take it and the folder beside it away"
            )
        if "answers" not in stored:
            make_folder(folder)
            _write(path, stored)  # so that a version without answers is known to be of this run
            stored |= self._answers(number, folder)
            _write(path, stored)
        return FoldAnswers(
            number,
            self.plan.left_out[number - 1],
            np.array(stored["answers"], np.float64),
            tuple(stored["thresholds"]),
            dict(stored["cases"]),
            float(stored["cpu_s"]),
        )

    def _answers(self, number: int, folder: Path) -> dict[str, Any]:
        version = self._version(number, folder)
        metrics = json.loads((version.folder / METRICS).read_text(encoding="utf-8"))
        left_out = self.plan.fold(number)
        with tempfile.TemporaryDirectory(prefix="wetread-fold-") as cache:
            how = HowRead(Path(cache), "torch", self.trust, self.settings.threads, self._told(number))
            answers, _, _ = read_films(version, left_out, how)
        return {
            "thresholds": [
                NO_THRESHOLD if rule.threshold is None else rule.threshold for rule in version.manifest.scores
            ],
            "cases": {**metrics["data"]["cases"], "left_out": len(left_out)},
            "cpu_s": metrics["effort"]["cpu_s"],
            "answers": answers.tolist(),
        }

    def _version(self, number: int, folder: Path) -> Bundle:
        """The bundle that this fold gives; what a kill left of it is finished."""
        target = folder / self.bundle.name
        if target.exists():
            return load_bundle(target)
        settings = replace(self.settings, out=folder, folds=0, resume=True)
        material = self.plan.material(number)
        if self.members:
            members = [self._sibling(number, name) for name in self.members]
            return average(self.bundle, members, settings, material, trust=self.trust, guarded=False).bundle
        start = self._sibling(number, settings.start_from) if settings.start_from else None
        trainee = Trainee(self.bundle, settings, material.source.sha256, start, self.trust)
        return train_on(trainee, material, tell=self._told(number), guarded=False).bundle

    def _sibling(self, number: int, name: str) -> Bundle:
        folder = self.settings.out / f"fold{number}" / Path(name).name
        if not folder.exists():
            raise Misconfigured(
                f"fold {number} of {name} is not in {self.settings.out}: cross-validate {name} into it first, so that "
                f"{self.bundle.name} begins with what that fold saw and nothing else"
            )
        return load_bundle(folder)

    def _told(self, number: int) -> Progress:
        return lambda what, share: self.tell(f"fold {number}: {what}", share)

    def _digest(self, number: int) -> str:
        """Of everything that decides what this fold gives."""
        digest = hashlib.sha256(json.dumps([self.plan.document(), number], sort_keys=True).encode())
        digest.update(json.dumps(self.settings.decided(), sort_keys=True).encode())
        configs = self.bundle.folder / "configs"
        for path in (configs / "train.json", self.bundle.config_path):
            digest.update(path.read_bytes() if path.is_file() else b"")
        for name in (*self.members, *([self.settings.start_from] if self.settings.start_from else [])):
            digest.update(self._sibling(number, name).weights_digest().encode())
        return digest.hexdigest()


def _keep_plan(plan: Plan, folder: Path) -> None:
    """Raises: ``Misconfigured`` where the folder is of other folds."""
    path, wanted = folder / PLAN, plan.document()
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != wanted:
        raise Misconfigured(
            f"{folder} holds folds of other data, another seed or another number of folds: name another --out"
        )
    make_folder(folder)
    _write(path, wanted)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, ensure_ascii=False) + "\n"
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))
