"""What is done between the steps of MONAI's trainer: seeds, checkpoints, freezing, the loss watched, progress told."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.handlers import EarlyStopping
from torch import nn

from wetread.errors import Misconfigured, TrainingStopped
from wetread.learn.checkpoint import Checkpoint, seed_epoch
from wetread.learn.config import TrainConfig
from wetread.progress import Progress


@dataclass(slots=True)
class Watch:
    """One training under observation; ``attach`` before it runs."""

    config: TrainConfig
    checkpoint: Checkpoint
    best: BestWeights
    seed: int
    tell: Progress
    stopping: EarlyStopping | None
    freeze: Freezing | None
    tensorboard: Path | None = None
    _losses: list[float] = field(default_factory=list)
    _began: float = 0.0

    def attach(self) -> None:
        """Put the handlers into the trainer; ours come after those of the config."""
        trainer = self.config.trainer
        trainer.add_event_handler(Events.EPOCH_STARTED, self._epoch_started)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._iteration_completed)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)
        if self.tensorboard is not None:
            _tensorboard(self.config, self.tensorboard)

    def _epoch_started(self, trainer: Any) -> None:
        state = trainer.state
        if self.freeze is not None:
            self.freeze.apply(state.epoch)
        dataset = trainer.data_loader.dataset
        seed_epoch(self.seed, state.epoch, getattr(dataset, "transform", None))
        trainer.set_data(trainer.data_loader)  # draws the order of this epoch from the new seed
        self._losses.clear()
        self._began = time.monotonic()

    def _iteration_completed(self, trainer: Any) -> None:
        state = trainer.state
        loss = float(state.output["loss"].detach())
        if not math.isfinite(loss):
            kept = f"the last good checkpoint is {self.checkpoint.path}" if self.checkpoint.history else "none was kept"
            raise TrainingStopped(
                f"the loss is {loss} at step {state.iteration} (epoch {state.epoch}); {kept}. Lower the learning rate, "
                "or look for images that are empty or not finite"
            )
        self._losses.append(loss)
        total = state.max_epochs * state.epoch_length
        self.tell(f"epoch {state.epoch}/{state.max_epochs}  loss {loss:.4f}", state.iteration / total)

    def _epoch_completed(self, trainer: Any) -> None:
        entry = {
            "epoch": float(trainer.state.epoch),
            "loss": sum(self._losses) / len(self._losses),
            "learning_rate": float(trainer.optimizer.param_groups[0]["lr"]),
            "seconds": time.monotonic() - self._began,
        }
        entry |= {name: float(value) for name, value in self.config.evaluator.state.metrics.items()}
        self.checkpoint.history.append(entry)
        self.best.see(entry, self.config.kept_network, name=self.config.evaluator.state.key_metric_name)
        if self.stopping is not None:
            self.stopping(self.config.evaluator)
        self.checkpoint.save()


class BestWeights:
    """The weights of the epoch with the best validation figure, and which it was."""

    def __init__(self) -> None:
        self.epoch, self.figure = 0, -math.inf
        self.weights: dict[str, torch.Tensor] = {}

    def see(self, entry: dict[str, float], network: nn.Module, *, name: str | None) -> None:
        """Keep them if they are better than all before."""
        figure = entry.get(name or "", -math.inf)
        if figure > self.figure:
            self.epoch, self.figure = int(entry["epoch"]), figure
            self.weights = {key: value.detach().clone() for key, value in network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"epoch": self.epoch, "figure": self.figure, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.epoch, self.figure, self.weights = state["epoch"], state["figure"], dict(state["weights"])


class Momentum:
    """How far the warm-up of the moving average has come; ignite's own state has code in it."""

    def __init__(self, schedule: Any) -> None:
        self._schedule = schedule

    def state_dict(self) -> dict[str, int]:
        """For the checkpoint."""
        return {"event_index": self._schedule.event_index}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """From the checkpoint."""
        self._schedule.event_index = state["event_index"]


class Freezing:
    """Parameters that stay as they are, and until when."""

    def __init__(self, network: nn.Module, pattern: str, *, until: int | None) -> None:
        """``pattern``: searched in the parameters' names. Raises: ``Misconfigured`` when it fits none, or all."""
        named = dict(network.named_parameters())
        self._parameters = [value for name, value in named.items() if re.search(pattern, name)]
        self._until = until
        if len(self._parameters) in (0, len(named)):
            which = "none" if not self._parameters else "all"
            raise Misconfigured(
                f"--freeze {pattern!r} fits {which} of the network's {len(named)} parameters, such as "
                f"{next(iter(named))}; name a part of them"
            )
        self.apply(1)

    def apply(self, epoch: int) -> None:
        """Frozen up to and including epoch ``until``."""
        frozen = self._until is None or epoch <= self._until
        for parameter in self._parameters:
            parameter.requires_grad_(not frozen)
            if frozen:
                parameter.grad = None


def early_stopping(config: TrainConfig, patience: int | None) -> EarlyStopping | None:
    """ignite's, on the key metric of the validation. Raises: ``Misconfigured`` where there is none."""
    if patience is None:
        return None
    evaluator = config.evaluator
    if not evaluator.state.key_metric_name:
        raise Misconfigured("early stopping needs a key metric in validate::evaluator of the train config")

    def score(engine: Any) -> float:
        return float(engine.state.metrics[engine.state.key_metric_name])

    return EarlyStopping(patience=patience, score_function=score, trainer=config.trainer)


def _tensorboard(config: TrainConfig, folder: Path) -> None:
    """MONAI's own handlers. Raises: ``Misconfigured`` without the package."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as exc:
        raise Misconfigured("--tensorboard needs the package tensorboard: pip install tensorboard") from exc
    from monai.handlers import TensorBoardStatsHandler, from_engine

    writer = SummaryWriter(str(folder))
    TensorBoardStatsHandler(
        summary_writer=writer, tag_name="train_loss", output_transform=from_engine(["loss"], first=True)
    ).attach(config.trainer)
    TensorBoardStatsHandler(
        summary_writer=writer,
        iteration_log=False,
        output_transform=lambda _: None,
        global_epoch_transform=lambda _: config.trainer.state.epoch,
    ).attach(config.evaluator)
