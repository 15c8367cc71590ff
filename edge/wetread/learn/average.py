"""``wetread bundle average``: a bundle whose answer is the mean of what others say. Nothing is trained for it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from wetread.bundles import Bundle, load_bundle
from wetread.bundles.trust import TrustPolicy
from wetread.errors import Misconfigured
from wetread.infer.configs.weights import state_dict
from wetread.learn.calibrate import Answers, fit, network_answers
from wetread.learn.cases import Cases, Part
from wetread.learn.config import CALIBRATION, TrainConfig
from wetread.learn.datalist import as_dictionaries
from wetread.learn.lineage import exports_behind
from wetread.learn.measures import classification
from wetread.learn.run import operating_point
from wetread.learn.settings import TrainingSettings
from wetread.learn.train import Material, Trained, check_free, guard_of, prepare, read_material
from wetread.learn.version import Began, Version, write_version

_NETWORK = "wetread.infer.networks.film.Averaged"


def average_of(
    bundle: Bundle,
    members: Sequence[Bundle],
    settings: TrainingSettings,
    *,
    command: tuple[str, ...] = (),
    trust: TrustPolicy | None = None,
) -> Trained:
    """``average``, on the parts of ``settings.data``. Raises: as ``average``."""
    check_free(bundle, settings)
    return average(bundle, members, settings, read_material(bundle, settings), command=command, trust=trust)


def average(
    bundle: Bundle,
    members: Sequence[Bundle],
    settings: TrainingSettings,
    material: Material,
    *,
    command: tuple[str, ...] = (),
    trust: TrustPolicy | None = None,
    guarded: bool = True,
) -> Trained:
    """Write a version of ``bundle`` with the members' networks and weights; calibrated as they were, on their mean.

    Raises: ``Misconfigured`` when the members are not calibrated, or not in the same way; ``BundleInvalid``,
    ``WeightsMissing``, ``DataUnusable``.
    """
    prepare(bundle, settings)
    began, parts = Began(), material.parts
    configs = [_inference(member) for member in members]
    answers, wanted = _mean_answers(members, configs, settings, parts, trust)
    calibration = fit(answers, **wanted)
    probabilities = calibration.probabilities(answers.logits)
    names = ", ".join(f"{member.name} {member.version}" for member in members)
    version = Version(
        settings=settings,
        command=shlex.join(command),
        source=material.source,
        cases={part: len(cases) for part, cases in parts.items()},
        history=(),
        kept_epoch=0,
        calibration=calibration,
        validation=classification(answers.labels, probabilities, threshold=calibration.threshold),
        cross_validation=None,
        effort=began.now(),
        guard=guard_of(parts, bundle, settings) if guarded else None,
        exports=tuple(dict.fromkeys(name for member in members for name in exports_behind(settings.data, member))),
        notes=(*material.notes, f"nothing was trained for it: the weights are those of {names}"),
    )
    changed = {"network_def": _definition(configs)}
    folder = write_version(bundle, settings.out / bundle.name, _weights(members), version, config=changed)
    return Trained(load_bundle(folder), version)


def _inference(member: Bundle) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(member.config_path.read_text(encoding="utf-8"))
    if not {CALIBRATION, "network_def"} <= config.keys() or len(member.manifest.scores) != 1:
        raise Misconfigured(
            f"{member.name} cannot be averaged: its inference config needs network_def and calibration, and one score"
        )
    return config


def _definition(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "_target_": _NETWORK,
        "networks": [config["network_def"] for config in configs],
        "temperatures": [config[CALIBRATION]["temperature"] for config in configs],
        "offsets": [config[CALIBRATION]["offset"] for config in configs],
    }


def _weights(members: Sequence[Bundle]) -> dict[str, Tensor]:
    return {
        f"networks.{number}.{name}": value
        for number, member in enumerate(members)
        for name, value in state_dict(member.folder / member.manifest.weights[0].path).items()
    }


def _mean_answers(
    members: Sequence[Bundle],
    configs: Sequence[Mapping[str, Any]],
    settings: TrainingSettings,
    parts: Mapping[Part, Cases],
    trust: TrustPolicy | None,
) -> tuple[Answers, dict[str, float]]:
    """What the members say about the validation part on average, and what the threshold is to be chosen for."""
    each, ways = [], []
    for member, config in zip(members, configs, strict=True):
        member.check_weights()
        learned = TrainConfig(member, settings, trust)
        learned.open(*(as_dictionaries(parts[part], key=learned.input_key) for part in ("train", "val")))
        learned.kept_network.load_state_dict(state_dict(member.folder / member.manifest.weights[0].path))
        wanted = operating_point(learned.content)
        said = network_answers(learned, "validate", seed=settings.seed, strength=wanted["strength"])
        scale = config[CALIBRATION]
        each.append([x / scale["temperature"] + scale["offset"] for x in (said.logits, said.changed_logits)])
        ways.append((wanted, getattr(learned.trainer.prepare_batch, "augmentation", None)))
    if any(way != ways[0] for way in ways):
        raise Misconfigured(
            f"{' and '.join(member.name for member in members)} are calibrated for different operating points or on "
            "films changed in different ways; their mean cannot be calibrated as both were"
        )
    plain, changed = (np.mean(logits, axis=0) for logits in zip(*each, strict=True))
    return Answers(plain, said.labels, changed, said.changed_labels), wanted
