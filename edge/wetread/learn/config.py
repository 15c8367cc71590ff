"""A bundle's train config: read, changed as a person decided, and made with MONAI's own workflow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from torch import nn

from wetread.bundles import Bundle
from wetread.bundles.static_check import examine, in_words
from wetread.bundles.trust import TrustPolicy, admit, refuse_misspelt
from wetread.errors import BundleInvalid, BundleNotTrusted, DataUnusable, Misconfigured, WetreadError
from wetread.infer.configs.workflow import open_workflow
from wetread.learn.generic import generic_train_config
from wetread.learn.settings import LOSSES, MASK_LOSSES, OPTIMIZERS, SCHEDULES, TrainingSettings
from wetread.records.numbers import number_of

TRAIN_CONFIG = "train.json"
CALIBRATION = "calibration"
"""Id in an inference config: ``temperature`` and ``offset`` of the logits, which its postprocessing refers to."""
_TRAINER, _EVALUATOR = "train::trainer", "validate::evaluator"


class TrainConfig:
    """``configs/train.json`` of a bundle, or one made for it where it has none, ready to be run.

    Beside MONAI's ids of a training workflow it has ``network_def``, ``network``, ``optimizer``, ``loss``, ``epochs``,
    ``batch_size``, ``learning_rate`` and ``seed``; optional ``lr_scheduler`` and ``ema``. What ``validate::evaluator``
    validates is the network that is kept.
    """

    def __init__(self, bundle: Bundle, settings: TrainingSettings, trust: TrustPolicy | None = None) -> None:
        """Read and change. Raises: ``BundleInvalid``, ``BundleNotTrusted``, ``Misconfigured``."""
        self.path = bundle.folder / "configs" / TRAIN_CONFIG
        _admit(bundle, trust)
        config = _read(self.path) if self.path.is_file() else generic_train_config(bundle)
        _decide(config, settings, masks=bool(bundle.manifest.labels))
        config["bundle_root"] = str(bundle.folder)
        config["output_dir"] = str(settings.out)
        self.content = config
        self._workflow: ConfigWorkflow | None = None
        self._bundle = bundle

    def open(self, train: Sequence[dict[str, Any]], val: Sequence[dict[str, Any]]) -> None:
        """Make the parts, with these cases as its data. Raises: ``BundleInvalid``, ``DataUnusable``."""
        first = self.path if self.path.is_file() else self._bundle.config_path
        workflow = open_workflow(
            config_file=str(first), meta_file=str(first.parent / "metadata.json"), workflow_type="train"
        )
        parser = workflow.parser
        parser.set(self.content)
        # Tuples: MONAI would look into a list for references, dictionary by dictionary.
        parser["train::dataset::data"] = tuple(train)
        parser["validate::dataset::data"] = tuple(val)
        self._workflow = workflow
        with _bundle_code(self.path):
            workflow.initialize()
        batches = self.made("train::dataloader")
        if batches is not None and len(batches) == 0:
            raise DataUnusable(
                f"{number_of(len(train), 'training case does', 'training cases do')} not fill one batch of "
                f"{self.content['batch_size']}"
            )
        for name in (_TRAINER, _EVALUATOR):
            self.made(name)

    @property
    def parser(self) -> ConfigParser:
        """The open workflow's."""
        if self._workflow is None:
            raise RuntimeError("the config is not open")
        return self._workflow.parser

    def made(self, name: str) -> Any:
        """The part called ``name``, made once; None where the config has none. Raises: ``BundleInvalid``."""
        if name not in self.parser:
            if name in (_TRAINER, _EVALUATOR):
                raise BundleInvalid(f"{self.path} has no {name}; MONAI's training workflows have both")
            return None
        with _bundle_code(self.path):
            return self.parser.get_parsed_content(name)

    @property
    def input_key(self) -> str:
        """Under which key the data dictionary holds the network's input."""
        return self._bundle.manifest.runtime.input_key

    @property
    def calibrated(self) -> bool:
        """Whether the bundle's inference config takes a temperature and an offset."""
        return CALIBRATION in _read(self._bundle.config_path)

    @property
    def trainer(self) -> Any:
        """MONAI's ``SupervisedTrainer`` or another of its kind."""
        return self.made(_TRAINER)

    @property
    def evaluator(self) -> Any:
        """What validates after each epoch."""
        return self.made(_EVALUATOR)

    @property
    def kept_network(self) -> nn.Module:
        """The network that is validated and kept: the trained one, or its moving average."""
        network: nn.Module = self.evaluator.network
        return network

    def run(self) -> None:
        """The config's own ``run``."""
        if self._workflow is None:
            raise RuntimeError("the config is not open")
        with _bundle_code(self.path):
            self._workflow.run()


@contextmanager
def _bundle_code(path: Path) -> Iterator[None]:
    """Says whose fault it is when a config's own code fails. Raises: ``BundleInvalid``, ``DataUnusable``."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="NvImgCodec")
            yield
    except WetreadError:
        raise
    except Exception as exc:  # a config may raise anything: it is code
        root: BaseException = exc
        while root.__cause__ is not None and not isinstance(root, WetreadError):
            root = root.__cause__
        if isinstance(root, WetreadError):
            raise root from None
        said = f"{type(root).__name__}: {root}"
        if "stack expects" in said or "collate" in said:
            raise DataUnusable(
                f"images of mixed sizes or types cannot form a batch ({said.splitlines()[0][:200]}); let the train "
                "config resize them (Resized) or crop them (RandSpatialCropd)"
            ) from exc
        raise BundleInvalid(f"{path}: {said}") from exc


def _admit(bundle: Bundle, trust: TrustPolicy | None) -> None:
    """Training runs the bundle's train config: without somebody who vouched for it, it must be harmless too.

    Raises: ``BundleNotTrusted``; ``BundleInvalid`` for names that MONAI does not have.
    """
    if admit(bundle, trust) is not None:
        return
    findings = [
        f for f in examine(bundle.folder, config=bundle.config_path.name) if f.file == f"configs/{TRAIN_CONFIG}"
    ]
    refuse_misspelt(bundle.name, findings)
    if findings:
        raise BundleNotTrusted(
            f"training {bundle.name} needs trusted code: {'; '.join(in_words(findings)[:5])}. Nothing of it was run. "
            f"Only if you have read it and trust it: wetread bundle install {bundle.folder} --trust-local"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        config = ConfigParser.load_config_file(str(path))
    except Exception as exc:  # json, yaml and MONAI's own checks each have their errors
        raise BundleInvalid(f"{path} cannot be read: {exc}") from exc
    return dict(config)


def _decide(config: dict[str, Any], settings: TrainingSettings, *, masks: bool) -> None:
    for name in ("seed", "epochs", "batch_size", "learning_rate"):
        value = getattr(settings, name)
        if value is not None:
            config[name] = value
    blocks: tuple[tuple[str, str | None, Mapping[str, dict[str, Any]]], ...] = (
        ("loss", settings.loss, MASK_LOSSES if masks else LOSSES),
        ("optimizer", settings.optimizer, OPTIMIZERS),
        ("lr_scheduler", settings.schedule, SCHEDULES),
    )
    for name, chosen, known in blocks:
        if chosen is None:
            continue
        block = dict(known[chosen])
        if name == "optimizer":
            block |= {"params": "$[p for p in @network.parameters() if p.requires_grad]", "lr": "@learning_rate"}
            if "weight_decay" in config:
                block["weight_decay"] = "@weight_decay"
        elif name == "lr_scheduler":
            block["optimizer"] = "@optimizer"
        config[name] = block
    for name, value in settings.more.items():
        _set(config, name, value)


def _set(config: dict[str, Any], name: str, value: Any) -> None:
    target: Any = config
    *way, last = name.replace("#", "::").split("::")
    for step in way:
        target = target.get(step) if isinstance(target, dict) else None
    if not isinstance(target, dict) or last not in target:
        plain = ", ".join(sorted(k for k, v in config.items() if isinstance(v, (bool, int, float))))
        raise Misconfigured(f"--set {name}: the train config has no such id; plain values are {plain}")
    target[last] = value
