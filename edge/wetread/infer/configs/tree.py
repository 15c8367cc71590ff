"""Walking through a MONAI config that was read and not parsed yet: components and strings."""

from __future__ import annotations

import pydoc
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from monai.bundle.config_item import ComponentLocator

Config = dict[str, Any]
META = "_meta_"

_DETECTORS = ("RetinaNetDetector", "retinanet_resnet50_fpn_detector")


def components(config: Config) -> Iterator[tuple[str, Config]]:
    """Every dictionary with a ``_target_``, with its id; the metadata are not looked into."""
    for name, value in config.items():
        if name != META:
            yield from _components(name, value)


def _components(name: str, value: object) -> Iterator[tuple[str, Config]]:
    if isinstance(value, dict):
        if isinstance(value.get("_target_"), str):
            yield name, value
        items = list(value.items())
    elif isinstance(value, list):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return
    for key, item in items:
        yield from _components(f"{name}::{key}", item)


def short_name(component: Config) -> str:
    """The class name of a component, without its module."""
    return str(component["_target_"]).rpartition(".")[2]


def dictionary_names(name: str) -> frozenset[str]:
    """A transform's class name with the endings of its dictionary version, all of which MONAI exports."""
    return frozenset({name, f"{name}d", f"{name}D", f"{name}Dict"})


def detector_id(config: Config) -> str:
    """Top-level id of the detector; empty when the bundle has none."""
    for name, component in components(config):
        if short_name(component) in _DETECTORS:
            return name.partition("::")[0]
    made = (k for k, v in config.items() if isinstance(v, str) and any(f"{d}(" in v for d in _DETECTORS))
    return next(made, "")


def rewritten(config: Config, change: Callable[[str], str]) -> list[tuple[str, str]]:
    """Replace every string by what ``change`` makes of it; returns those that became another, old and new."""
    changed: list[tuple[str, str]] = []

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            new = change(value)
            if new != value:
                changed.append((value, new))
            return new
        if isinstance(value, dict):
            for key in value:
                value[key] = walk(value[key])
        elif isinstance(value, list):
            value[:] = [walk(item) for item in value]
        return value

    for key in config:
        if key != META:
            config[key] = walk(config[key])
    return changed


def target_class(component: Config) -> Any:
    """What ``_target_`` names, imported; ``None`` when it is an expression or not to be found."""
    target = str(component["_target_"])
    if target.startswith("$"):
        return None
    module = _locator().get_component_module_name(target)
    if isinstance(module, list):
        module = module[0]
    try:
        return pydoc.locate(f"{module}.{target}" if module else target)
    except pydoc.ErrorDuringImport:  # the config says what is wrong when the component is made
        return None


@cache
def _locator() -> ComponentLocator:
    return ComponentLocator(excludes=None)
