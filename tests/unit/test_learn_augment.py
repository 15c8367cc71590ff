"""Films changed at random: they stay films, the seed decides all of it, and looks say less about the label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from learning import films
from wetread.learn.augment import Augmentation, AugmentedBatch
from wetread.learn.checkpoint import seed_epoch
from wetread.learn.losses import ProbabilityError
from wetread.learn.sampling import appearance, appearance_weights

NOTHING = Augmentation(**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0))


def batch(count: int = 16) -> torch.Tensor:
    return torch.from_numpy(films(count, seed=5)[0])[:, None] / 255


def test_changed_films_are_still_films() -> None:
    torch.manual_seed(1)
    changed = Augmentation()(batch(64))
    assert changed.shape == (64, 1, 28, 28)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.isnan(changed).any()


def test_nothing_asked_for_changes_nothing_visible() -> None:
    torch.manual_seed(1)
    torch.testing.assert_close(NOTHING(batch()), batch(), atol=0.002, rtol=0)


@pytest.mark.parametrize("name", sorted(Augmentation.__dataclass_fields__))
def test_every_setting_changes_something(name: str) -> None:
    torch.manual_seed(1)
    most = 1.0 if name in ("flip", "curve", "cover") else getattr(Augmentation(), name)
    only = Augmentation(**{**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0), name: most})
    assert (only(batch(64)) - batch(64)).abs().max() > 0.02


def test_flip_mirrors_left_and_right_only() -> None:
    always = Augmentation(**{**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0), "flip": 1.0})
    torch.testing.assert_close(always(batch()), batch().flip(3), atol=0.002, rtol=0)


def test_seed_and_epoch_decide_what_is_drawn() -> None:
    def drawn(seed: int, epoch: int) -> torch.Tensor:
        seed_epoch(seed, epoch)
        return Augmentation()(batch())

    assert torch.equal(drawn(3, 7), drawn(3, 7))
    assert not torch.equal(drawn(3, 7), drawn(3, 8))
    assert not torch.equal(drawn(3, 7), drawn(4, 7))


def test_targets_are_smoothed_and_mixed_with_their_images() -> None:
    data = {"image": batch(), "label": (torch.arange(16) % 2).float()[:, None]}
    images, targets = AugmentedBatch(smoothing=0.1)(data)
    assert torch.equal(images, batch())
    assert sorted({round(v, 4) for v in targets.flatten().tolist()}) == [0.05, 0.95]
    mixed = 0
    for seed in range(20):
        torch.manual_seed(seed)
        images, targets = AugmentedBatch(mixup=1.0)(data)
        if not torch.equal(images, batch()):
            mixed += 1
            assert targets.min() >= 0
            assert targets.max() <= 1
            assert len(set(targets.flatten().tolist())) > 2
    assert 4 <= mixed <= 16  # in half of the batches


def test_drawn_films_tell_less_of_their_label_by_their_looks() -> None:
    random = np.random.default_rng(0)
    images, labels = random.normal(0.6, 0.05, (400, 28, 28)).clip(0, 1), np.arange(400) % 2
    # A shortcut: nine of ten films with the label come from a machine that makes them darker.
    dark = np.where(random.random(400) < 0.9, labels == 1, labels == 0)
    images[dark] *= random.uniform(0.6, 0.8, (dark.sum(), 1, 1))
    data = [
        {"image": torch.from_numpy(image)[None], "label": torch.tensor([float(label)])}
        for image, label in zip(images, labels, strict=True)
    ]
    weights = appearance_weights(data).numpy()
    share = weights / weights.sum()

    def dark_given(label: int) -> float:
        return float(share[dark & (labels == label)].sum() / share[labels == label].sum())

    before = np.mean(dark[labels == 1]) - np.mean(dark[labels == 0])
    after = dark_given(1) - dark_given(0)
    assert before > 0.7
    assert after < 0.9 * before
    assert roc_auc_score(labels, -appearance(images)[:, 3]) > 0.8  # the median alone told the label


def test_probability_error_is_the_brier_score() -> None:
    logits, targets = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [1.0]])
    expected = (0.25 + (1 - torch.sigmoid(torch.tensor(2.0))) ** 2) / 2
    assert ProbabilityError()(logits, targets) == pytest.approx(float(expected))
    volume, mask = torch.zeros(1, 2, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2)
    assert ProbabilityError(classes=True)(volume, mask) == pytest.approx(0.25)
