"""With which exports of signed reads a bundle was trained: in its metrics, so that a withdrawal can name it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wetread.bundles import Bundle, load_bundle
from wetread.errors import Misconfigured

EXPORT = "export.json"
"""In the folder of an export."""
METRICS = Path("training") / "metrics.json"
"""In the folder of a bundle: how it was trained, and how good it is."""


@dataclass(frozen=True, slots=True)
class TrainedVersion:
    """A version of a bundle that learned from exports."""

    bundle: str
    version: str
    folder: Path
    exports: tuple[str, ...]


def export_of(data: Path) -> str:
    """Id of the export that lies in a folder; '' of data that are none."""
    return str(_document(data / EXPORT).get("id", ""))


def exports_behind(data: Path, start: Bundle | None) -> tuple[str, ...]:
    """What a training learns from: the export it is given, and those behind the weights it begins with."""
    behind = _exports(start.folder) if start is not None else ()
    own = export_of(data)
    return tuple(dict.fromkeys([*([own] if own else []), *behind]))


def trained_with(bundle_folders: Iterable[Path], exports: Collection[str]) -> tuple[TrainedVersion, ...]:
    """The bundles in these folders that learned from one of ``exports``."""
    found = []
    for path in sorted(path for folder in bundle_folders for path in folder.glob(f"*/{METRICS.as_posix()}")):
        folder = path.parents[1]
        learned = tuple(export for export in _exports(folder) if export in exports)
        if learned:
            found.append(TrainedVersion(folder.name, _version(folder), folder, learned))
    return tuple(found)


def _exports(folder: Path) -> tuple[str, ...]:
    data = _document(folder / METRICS).get("data", {})
    return tuple(str(export) for export in data.get("exports", ())) if isinstance(data, dict) else ()


def _version(folder: Path) -> str:
    try:
        return load_bundle(folder).version
    except Misconfigured:
        return "?"


def _document(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
