"""How a bundle is driven: its components one by one where they are standard, its evaluator or detector where not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer, SlidingWindowInferer

from wetread.errors import BundleInvalid
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.configs.tree import Config, components, detector_id, short_name
from wetread.infer.engines.engine import Engine
from wetread.infer.networks.cascade_tail import masked
from wetread.infer.program import EngineNetwork, Program, Runnable, in_memory
from wetread.infer.shapes import check_sliding
from wetread.infer.streaming.tail import streamed
from wetread.infer.windows.sliding import can_stream

COMPONENTS, EVALUATOR, DETECTOR = "components", "evaluator", "detector"

_PLAIN_EVALUATORS = frozenset({"SupervisedEvaluator"})
_OWN_ITERATION = ("prepare_batch", "iteration_update")
_IDLE_HANDLERS = frozenset({"Silent", "GarbageCollector"})


@dataclass(frozen=True, slots=True)
class Tier:
    """One way to drive a bundle, and why this one."""

    name: str
    reason: str


def choose_tier(config: InferenceConfig) -> Tier:
    """Which tier a bundle needs, from what its config holds; nothing is evaluated."""
    if detector_id(config.config):
        return Tier(DETECTOR, "the config holds a RetinaNet detector")
    evaluator = config.config.get("evaluator")
    if not isinstance(evaluator, dict):
        return Tier(COMPONENTS, "there is no evaluator")
    kind = short_name(evaluator)
    if kind not in _PLAIN_EVALUATORS:
        return Tier(EVALUATOR, f"the evaluator is a {kind}")
    own = [key for key in _OWN_ITERATION if key in evaluator]
    if own:
        return Tier(EVALUATOR, f"the evaluator has its own {own[0]}")
    handler = _working_handler(config.config)
    if handler:
        return Tier(EVALUATOR, f"the handler {handler} may change the answer")
    return Tier(COMPONENTS, "preprocessing, inferer, network and postprocessing are standard")


def open_program(config: InferenceConfig, engines: Mapping[str, Engine]) -> Runnable:
    """The whole bundle, with an engine in the place of every network named in ``engines``.

    Raises: ``BundleInvalid`` when a part cannot be made, or no engine belongs to the network that is to be run.
    """
    name = config.runtime.network
    if name not in engines:
        raise BundleInvalid(f"no weights are declared for the network {name!r} that the inferer is to run")
    return _OPENERS[choose_tier(config).name](config, engines)


def _working_handler(config: Config) -> str:
    for name, component in components(config):
        if "handlers" in name.split("::")[0] or "::val_handlers" in name:
            kind = short_name(component)
            if kind not in _IDLE_HANDLERS and "::" in name:
                return kind
    return ""


def _components(config: InferenceConfig, engines: Mapping[str, Engine]) -> Program:
    networks = {name: EngineNetwork(engine) for name, engine in engines.items()}
    parser = config.parser(networks)
    program = Program(
        preprocessing=in_memory(config.resolved(parser, "preprocessing")),
        inferer=_inferer(config, parser),
        network=networks[config.runtime.network],
        postprocessing=in_memory(config.resolved(parser, "postprocessing") if "postprocessing" in parser else []),
        input_key=config.runtime.input_key,
        output_key=config.runtime.output_key,
    )
    return masked(streamed(program, skip_air=config.runtime.skip_air))


def _inferer(config: InferenceConfig, parser: ConfigParser) -> Any:
    """Plain sliding windows add up where their image is: devices in a config are those of its author's machine."""
    inferer = config.resolved(parser, "inferer") if "inferer" in config.config else SimpleInferer()
    if isinstance(inferer, SlidingWindowInferer):
        check_sliding(inferer, f"{config.path}: inferer")
    if can_stream(inferer):
        inferer.device = inferer.sw_device = None
    return inferer


def _evaluator(config: InferenceConfig, engines: Mapping[str, Engine]) -> Runnable:
    from wetread.infer.tiers_evaluator import EvaluatorProgram

    return EvaluatorProgram(config, {name: EngineNetwork(engine) for name, engine in engines.items()})


def _detector(config: InferenceConfig, engines: Mapping[str, Engine]) -> Runnable:
    from wetread.infer.networks.detection import open_detector

    return open_detector(config, engines, detector_id(config.config))


_OPENERS: dict[str, Callable[[InferenceConfig, Mapping[str, Engine]], Any]] = {
    COMPONENTS: _components,
    EVALUATOR: _evaluator,
    DETECTOR: _detector,
}
