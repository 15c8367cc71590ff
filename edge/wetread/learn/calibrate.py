"""Scores become probabilities, and a threshold is chosen: on validation films that were changed at random.

Validation films come from where the training films come from, so a network is surer about them than about any others.
Copies that were changed more strongly than in training stand for films from elsewhere, and the share of positive cases
that is expected there takes the place of the share among the validation films (Guo et al. 2017; Saerens et al. 2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize

from wetread.learn.augment import Augmentation
from wetread.learn.checkpoint import seed_epoch
from wetread.learn.config import TrainConfig

Logits = npt.NDArray[np.float64]
"""``(case,)``: before the sigmoid."""

COPIES = 4


@dataclass(frozen=True, slots=True)
class Calibration:
    """``probability = sigmoid(logit / temperature + offset)``, present from ``threshold`` upwards."""

    temperature: float
    offset: float
    threshold: float
    prevalence: float
    """Expected share of positive cases."""
    specificity: float
    """That the threshold was chosen to have among the films it was chosen on."""
    strength: float = 0.0
    """How strongly those films were changed, in units of the training's augmentation; 0: not at all."""

    def probabilities(self, logits: Logits) -> npt.NDArray[np.float64]:
        """``(case,)``, 0 to 1."""
        return 1.0 / (1.0 + np.exp(-(logits / self.temperature + self.offset)))


@dataclass(frozen=True, slots=True)
class Answers:
    """What the network says about labelled films."""

    logits: Logits
    labels: npt.NDArray[np.int64]
    changed_logits: Logits
    """Of copies that were changed at random; empty where the train config changes none. Where there are any, they alone
    decide."""
    changed_labels: npt.NDArray[np.int64]


def fit(answers: Answers, *, prevalence: float, specificity: float, strength: float = 0.0) -> Calibration:
    """Temperature and offset of the least cross-entropy, classes weighted to ``prevalence``; then the threshold.

    The threshold is the lowest at which ``specificity`` of the negative films are called absent.
    """
    changed = len(answers.changed_labels) > 0
    logits, labels = (answers.changed_logits, answers.changed_labels) if changed else (answers.logits, answers.labels)
    share = labels.mean()
    weights = np.where(labels == 1, prevalence / share, (1 - prevalence) / (1 - share))

    def loss(at: npt.NDArray[np.float64]) -> float:
        scaled = logits * np.exp(-at[0]) + at[1]
        return float(np.mean(weights * (np.logaddexp(0.0, scaled) - labels * scaled)))

    found = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    temperature, offset = float(np.exp(found[0])), float(found[1])
    negative = 1.0 / (1.0 + np.exp(-(logits[labels == 0] / temperature + offset)))
    threshold = _rounded_up(float(np.quantile(negative, specificity, method="higher")))
    return Calibration(temperature, offset, threshold, prevalence, specificity, strength if changed else 0.0)


def _rounded_up(threshold: float) -> float:
    """Three digits, upwards: the film on which the threshold was found stays below it."""
    return min(0.999, float(np.floor(threshold * 1000) + 1) / 1000)


def network_answers(config: TrainConfig, part: str, *, seed: int, strength: float) -> Answers:
    """What the kept network says about the films of ``train`` or ``validate``, and about changed copies of them."""
    network, dataset = config.kept_network.eval(), config.made(f"{part}::dataset")
    key, device = config.input_key, config.made("device")
    augmentation: Augmentation | None = getattr(config.trainer.prepare_batch, "augmentation", None)
    images = torch.stack([torch.as_tensor(item[key]).as_subclass(torch.Tensor) for item in dataset])
    labels = np.array([int(item["label"].reshape(-1)[0]) for item in dataset])
    plain = _logits(network, images, device)
    changed: list[Logits] = []
    if augmentation is not None and strength > 0:
        change = augmentation.scaled(strength)
        for copy in range(COPIES):
            seed_epoch(seed, copy)
            changed.append(_logits(network, torch.cat([change(batch) for batch in images.split(64)]), device))
    return Answers(plain, labels, np.concatenate(changed or [plain[:0]]), np.tile(labels, len(changed)))


def _logits(network: Any, images: torch.Tensor, device: Any) -> Logits:
    with torch.inference_mode():
        answers = [network(batch.to(device))[:, 0].cpu() for batch in images.split(64)]
    return np.asarray(torch.cat(answers).numpy(), np.float64)
