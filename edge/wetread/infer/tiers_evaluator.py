"""A bundle with an evaluator or handlers of its own: MONAI's workflow runs it, one image at a time, in memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from wetread.errors import BundleInvalid, EngineUnavailable
from wetread.extras import how_to_install
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.configs.workflow import open_workflow
from wetread.infer.program import Images, stage

_METRICS = ("key_val_metric", "additional_metrics")


class EvaluatorProgram:
    """The bundle's workflow with our data in its dataset and engines in the place of its networks."""

    def __init__(self, config: InferenceConfig, networks: Mapping[str, nn.Module]) -> None:
        """Parse and initialize the workflow. Raises: ``BundleInvalid``, ``EngineUnavailable`` without ignite."""
        self._output_key = config.runtime.output_key
        self._path = config.path
        parser = config.parser(networks)
        dataset = _with_our_data(parser, config)
        self._workflow = open_workflow(
            config_file=str(config.path), run_id=_run_id(parser, config), workflow_type="infer"
        )
        self._workflow.parser = parser
        with stage("starting the evaluator"):
            self._workflow.initialize()
        self._dataset = config.resolved(parser, dataset)
        self._engine = config.resolved(parser, "evaluator")
        self._answers: list[Any] = []
        self._engine.add_event_handler(_iteration_completed(), self._keep)

    def __call__(self, images: Images) -> Tensor:
        """Images without a channel → what the evaluator leaves under the output key, ``(channel, i, j, k)``."""
        self._dataset.data = [dict(images)]
        self._answers.clear()
        before = list(sys.path)
        try:
            with stage("the evaluator"), torch.inference_mode():
                self._workflow.run()
        finally:
            sys.path[:] = before  # the workflow puts the bundle's folder in front at every run
            self._dataset.data = [{}]
        if not self._answers:
            raise BundleInvalid(f"{self._path}: the evaluator ended without an answer")
        return self._answers.pop()

    def _keep(self, engine: Any) -> None:
        output = engine.state.output
        one = output[0] if isinstance(output, list) else {key: value[0] for key, value in output.items()}
        if self._output_key not in one:
            raise BundleInvalid(f"the evaluator answers with {sorted(map(str, one))}, not {self._output_key!r}")
        self._answers.append(one[self._output_key])


def _with_our_data(parser: ConfigParser, config: InferenceConfig) -> str:
    """Let the evaluator's loader give one image from memory, without mixed precision; returns the dataset's id.

    Raises: ``BundleInvalid`` when evaluator, loader and dataset are not chained by ids.
    """
    evaluator = parser["evaluator"]
    evaluator["amp"] = False
    for key in _METRICS:
        evaluator.pop(key, None)
    loader_id = _referred(parser, evaluator.get("val_data_loader"), config, "the evaluator's val_data_loader")
    loader = parser[loader_id]
    loader.update(batch_size=1, num_workers=0, shuffle=False)
    for key in ("pin_memory", "persistent_workers", "prefetch_factor"):
        loader.pop(key, None)
    dataset_id = _referred(parser, loader.get("dataset"), config, f"{loader_id}'s dataset")
    transform = parser[dataset_id].get("transform", "@preprocessing")
    parser[dataset_id] = {"_target_": "monai.data.Dataset", "data": [{}], "transform": transform}
    return dataset_id


def _referred(parser: ConfigParser, value: Any, config: InferenceConfig, what: str) -> str:
    if isinstance(value, str) and value.startswith("@") and value[1:] in parser:
        return value[1:]
    raise BundleInvalid(f"{config.path}: {what} must refer to a part of the config (@…), it is {value!r:.60}")


def _run_id(parser: ConfigParser, config: InferenceConfig) -> str:
    if "run" not in parser:
        parser["run"] = ["$@evaluator.run()"]
    return "run"


def _iteration_completed() -> Any:
    try:
        from ignite.engine import Events
    except ImportError as exc:
        raise EngineUnavailable(
            f"this bundle has an evaluator of its own, which needs pytorch-ignite ({exc}); {how_to_install('edge')}"
        ) from exc
    return Events.ITERATION_COMPLETED
