"""Training that can be killed at any moment: after every epoch all of its state is on disk, the old one until then."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from wetread.durable import write_atomically
from wetread.errors import TrainingStopped

CHECKPOINT = "checkpoint.pt"


class Stateful(Protocol):
    """A network, optimizer, schedule, trainer or handler."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Any) -> Any: ...


@dataclass(slots=True)
class Checkpoint:
    """Everything that goes on from epoch to epoch.

    Randomness is not in it: every epoch begins with ``seed_epoch``, so what is drawn in it depends on the seed and its
    number alone, and an epoch that was cut off is done again exactly.
    """

    folder: Path
    run: str
    """Digest of data, config and settings: a checkpoint of another run is refused."""
    parts: Mapping[str, Stateful]
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry for each finished epoch."""

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / CHECKPOINT

    def save(self) -> None:
        """Put the state of this moment in place of the last one, atomically and durably."""
        content = {
            "run": self.run,
            "history": self.history,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        write_atomically(self.path, lambda target: torch.save(content, target))

    def resume(self) -> int:
        """Take up the state on disk; the number of finished epochs, 0 where there is nothing yet.

        Raises: ``TrainingStopped`` when it belongs to another run or cannot be read.
        """
        if not self.path.is_file():
            return 0
        try:
            content = torch.load(self.path, weights_only=True)
        except Exception as exc:  # what torch raises for a damaged file depends on where the damage is
            raise TrainingStopped(f"{self.path} cannot be read ({type(exc).__name__}); train anew without it") from exc
        if content["run"] != self.run:
            raise TrainingStopped(
                f"{self.path} belongs to a training with other data, settings or configuration; use the ones it began "
                "with, or another --out"
            )
        for name, part in self.parts.items():
            part.load_state_dict(content["parts"][name])
        self.history[:] = content["history"]
        return len(self.history)


def seed_epoch(seed: int, epoch: int, *randomizable: Any) -> None:
    """Make everything that is drawn from here on depend on ``seed`` and ``epoch`` alone.

    ``randomizable``: MONAI's random transforms and datasets, which have a state of their own.
    """
    mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)  # transforms of MONAI and of bundles draw from it
    torch.manual_seed(mixed)
    for each in randomizable:
        if hasattr(each, "set_random_state"):
            each.set_random_state(seed=mixed)
