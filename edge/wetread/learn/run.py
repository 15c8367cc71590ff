"""One run of MONAI's trainer over one split, with its state on disk."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from wetread.bundles import Bundle
from wetread.bundles.trust import TrustPolicy
from wetread.errors import Misconfigured, TrainingStopped
from wetread.infer.configs.weights import state_dict
from wetread.learn.calibrate import Answers, network_answers
from wetread.learn.cases import Cases
from wetread.learn.checkpoint import CHECKPOINT, Checkpoint, Stateful, seed_epoch
from wetread.learn.config import TrainConfig
from wetread.learn.datalist import as_dictionaries
from wetread.learn.settings import TrainingSettings
from wetread.learn.watch import BestWeights, Freezing, Momentum, Watch, early_stopping
from wetread.progress import Progress

_OPERATING_POINT = {"prevalence": 0.5, "specificity": 0.95, "strength": 1.0}
_STATEFUL = ("network", "optimizer", "lr_scheduler", "loss")


@dataclass(frozen=True, slots=True)
class Trainee:
    """Which bundle is trained, and how; the same for every fold."""

    bundle: Bundle
    settings: TrainingSettings
    data_sha256: str
    start: Bundle | None
    """Whose weights to begin with."""
    trust: TrustPolicy | None


class Run:
    """From the first epoch, or the one after the last that is on disk, to the weights that are kept."""

    def __init__(self, trainee: Trainee, train: Cases, val: Cases, folder: Path, tell: Progress) -> None:
        """Make everything and take up what is on disk. Raises: as ``train``."""
        self.trainee, self._folder, self.notes = trainee, folder, list[str]()
        settings = trainee.settings
        self.config = TrainConfig(trainee.bundle, settings, trainee.trust)
        seed = int(self.config.content.get("seed", settings.seed))
        seed_epoch(seed, 0)  # the weights that the network begins with
        key = self.config.input_key
        self.config.open(as_dictionaries(train, key=key), as_dictionaries(val, key=key))
        network: nn.Module = self.config.made("network")
        if trainee.start is not None:
            self.notes.append(take_weights(network, trainee.start))
        self._best = BestWeights()
        freeze = None
        if settings.freeze is not None:
            freeze = Freezing(network, settings.freeze, until=settings.unfreeze_after)
        stopping = early_stopping(self.config, settings.patience)
        parts: dict[str, Stateful] = {"best": self._best, "trainer": self.config.trainer}
        parts |= {name: made for name in _STATEFUL if (made := self.config.made(name)) is not None and _has_state(made)}
        average = self.config.made("ema")
        if average is not None:
            average.ema_model.load_state_dict(network.state_dict())
            parts["average"] = average.ema_model
            if average.momentum_scheduler is not None:
                parts["momentum"] = Momentum(average.momentum_scheduler)
        if stopping is not None:
            parts["stopping"] = stopping
        self.checkpoint = Checkpoint(folder, _digest(trainee, self.config.content, train, val), parts)
        self._prepare(settings.resume)
        watch = Watch(self.config, self.checkpoint, self._best, seed, tell, stopping, freeze, settings.tensorboard)
        watch.attach()

    def finish(self) -> dict[str, Tensor]:
        """Run what is left; the weights that are kept. They are in ``config.kept_network`` afterwards, too."""
        if not self._done:
            self.config.run()
        if self._keeps_best:
            self.config.kept_network.load_state_dict(self._best.weights)
        return dict(self.config.kept_network.state_dict())

    @property
    def kept_epoch(self) -> int:
        """Whose weights are kept."""
        return self._best.epoch if self._keeps_best else len(self.checkpoint.history)

    @property
    def operating_point(self) -> dict[str, float]:
        """What calibration and threshold are to be chosen for."""
        return operating_point(self.config.content)

    def answers(self) -> Answers:
        """What the kept network says about the validation cases, and about copies changed at random.

        Raises: ``TrainingStopped`` where it answers with what is no number: the last step may undo the weights.
        """
        strength = self.operating_point["strength"]
        answers = network_answers(self.config, "validate", seed=self.trainee.settings.seed, strength=strength)
        if not np.isfinite(answers.logits).all():
            raise TrainingStopped(
                f"the kept network (epoch {self.kept_epoch}) answers the validation part with what is no number, so no "
                f"version was written. Lower the learning rate; take {self.checkpoint.path} away, or name another --out"
            )
        return answers

    def forget(self) -> None:
        """The new version is written: take the state of this training away."""
        shutil.rmtree(self._folder)

    @property
    def _keeps_best(self) -> bool:
        return self.config.content.get("keep", "best") == "best" and bool(self._best.weights)

    @property
    def _done(self) -> bool:
        history, trainer = self.checkpoint.history, self.config.trainer
        stopped = (
            self.trainee.settings.patience is not None
            and bool(history)
            and (len(history) - self._best.epoch >= self.trainee.settings.patience)
        )
        return len(history) >= trainer.state.max_epochs or stopped

    def _prepare(self, resume: bool) -> None:
        path = self._folder / CHECKPOINT
        if path.is_file() and not resume:
            raise Misconfigured(f"{path} is of a training that was interrupted: go on with --resume, or take it away")
        if resume:
            done = self.checkpoint.resume()
            if done:
                self.notes.append(f"taken up again after epoch {done}")


def operating_point(content: Mapping[str, Any]) -> dict[str, float]:
    """``operating_point`` of a train config: ``prevalence``, ``specificity``, ``strength``."""
    return _OPERATING_POINT | dict(content.get("operating_point", {}))


def take_weights(network: nn.Module, bundle: Bundle) -> str:
    """Begin with another bundle's weights, every parameter whose name and shape fit; what was taken, as a sentence.

    Raises: ``Misconfigured`` when nothing fits; ``WeightsMissing``, ``BundleInvalid``.
    """
    bundle.check_weights()
    own, taken = network.state_dict(), dict[str, Tensor]()
    for weights in bundle.manifest.weights:
        given = state_dict(bundle.folder / weights.path)
        taken |= {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not taken:
        raise Misconfigured(
            f"none of the weights of {bundle.name} fit the network: no parameter has the same name and shape"
        )
    network.load_state_dict({**own, **taken})
    left = sorted(set(own) - set(taken))
    rest = f"; left as they were: {', '.join(left[:5])}{', …' if len(left) > 5 else ''}" if left else ""
    return f"began with {len(taken)} of {len(own)} tensors of {bundle.name} {bundle.version}{rest}"


def _has_state(made: Any) -> bool:
    return hasattr(made, "state_dict") and hasattr(made, "load_state_dict")


def _digest(trainee: Trainee, content: Mapping[str, Any], train: Cases, val: Cases) -> str:
    """Of everything that decides the outcome; where files lie decides nothing."""
    digest = hashlib.sha256(trainee.data_sha256.encode())
    config = {name: value for name, value in content.items() if name not in ("bundle_root", "output_dir")}
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    digest.update(json.dumps(trainee.settings.decided(), sort_keys=True).encode())
    digest.update((trainee.start.weights_digest() if trainee.start else "").encode())
    for cases in (train, val):
        digest.update("\0".join(case.name for case in cases).encode() + b"\1")
    return digest.hexdigest()
