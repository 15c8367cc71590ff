"""The JSON and YAML files of a bundle, read with limits and without any YAML tag that makes Python objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wetread.errors import BundleInvalid

_SUFFIXES = frozenset({".json", ".yaml", ".yml"})
_LARGEST_FILE = 32 << 20
_MOST_VALUES = 500_000
_DEEPEST = 60
_OTHER_WORK = re.compile(r"(^|[_-])(train|training|evaluate|evaluation|search|export|test|trt|multi_?gpu|mgpu)([_-]|$)")
_COMMENT_LINE = re.compile(r"^\s*//.*$", re.MULTILINE)
"""Allowed in ``wetread.json``, which MONAI never reads."""
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{t}" for t in ("str", "int", "float", "bool", "null", "map", "seq"))


@dataclass(frozen=True, slots=True)
class Value:
    """One place in a config: a string, or an object with ``_target_``."""

    key: str
    """Ids from the top, joined as MONAI joins them: ``postprocessing::transforms::0``."""
    content: str | dict[str, Any]


def config_files(folder: Path) -> list[Path]:
    """Every JSON and YAML file of the bundle, wherever it lies."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())


def is_for_reading(path: Path, folder: Path, *, config: str) -> bool:
    """Whether a read may parse this file: all but those that MONAI's naming says are for training, export and the like.

    ``config`` is the name of the inference config; files beside it that are for other work are never opened by a read.
    """
    configs = folder / "configs"
    return path == configs / config or path.parent != configs or not _OTHER_WORK.search(path.stem.lower())


def read_config(path: Path) -> Any:
    """The content of one file.

    Raises: ``BundleInvalid`` for files that are too large, too deep, not JSON or YAML, or with tags that make objects.
    """
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise BundleInvalid(f"{path} has {size >> 20} MiB; a config has at most {_LARGEST_FILE >> 20} MiB")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() != ".json":
            return _yaml(text, path)
        return json.loads(_COMMENT_LINE.sub("", text) if path.name == "wetread.json" else text)
    except UnicodeDecodeError as exc:
        raise BundleInvalid(f"{path} is not UTF-8: {exc}") from exc
    except RecursionError as exc:
        raise BundleInvalid(f"{path} is nested too deeply; a config has at most {_DEEPEST} levels") from exc
    except ValueError as exc:
        raise BundleInvalid(f"{path} is not JSON: {exc}") from exc


def values_of(content: Any, path: Path) -> Iterator[Value]:
    """Every string, and every object with ``_target_``, depth first; keys count as strings.

    Raises: ``BundleInvalid`` when there are too many values or levels (a YAML file can name one list a thousand times).
    """
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    seen = 0
    while waiting:
        key, value, depth = waiting.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_VALUES:
            raise BundleInvalid(f"{path}, {key}: more than {_DEEPEST} levels or {_MOST_VALUES} values; not a config")
        if isinstance(value, str):
            yield Value(key, value)
        elif isinstance(value, dict):
            if "_target_" in value:
                yield Value(key, value)
            waiting.extend((_joined(key, k), v, depth + 1) for k, v in value.items())
        elif isinstance(value, list):
            waiting.extend((_joined(key, i), v, depth + 1) for i, v in enumerate(value))


def _joined(key: str, part: object) -> str:
    return f"{key}::{part}" if key else str(part)


def _yaml(text: str, path: Path) -> Any:
    import yaml  # type: ignore[import-untyped]

    depth = 0
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise BundleInvalid(f"{path} is nested too deeply; a config has at most {_DEEPEST} levels")
            tag = getattr(event, "tag", None)
            if tag is not None and tag not in _PLAIN_TAGS:
                line = event.start_mark.line + 1
                raise BundleInvalid(f"{path}, line {line}: the tag {tag} makes an object; a config holds plain values")
        return yaml.load(text, yaml.SafeLoader)
    except yaml.YAMLError as exc:
        raise BundleInvalid(f"{path} is not YAML: {exc}") from exc
