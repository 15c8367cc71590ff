"""The threshold bundle with a gate: a read goes no further until the test opens it, or for ever."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundles import vouched
from threshold_bundle import write_threshold_bundle
from wetread.bundles import load_bundle

_GATE = '''
import threading
from pathlib import Path

from monai.transforms import Transform


class Gate(Transform):
    """Waits until there is the file."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.with_suffix(".loaded").touch()

    def __call__(self, data):
        pause = threading.Event()
        while not self.path.exists():
            pause.wait(0.02)
        return data
'''


@dataclass(frozen=True)
class Gate:
    """Open while its file exists."""

    path: Path

    @property
    def loaded(self) -> bool:
        """Whether a worker has opened the bundle."""
        return self.path.with_suffix(".loaded").exists()

    def open(self) -> None:
        self.path.touch()

    def close(self) -> None:
        self.path.unlink(missing_ok=True)


def write_gated_bundle(folder: Path, gate: Gate, **more: Any) -> Path:
    """Write the bundle, trusted; ``more`` replaces top-level keys of its manifest."""
    write_threshold_bundle(folder, **more)
    path = folder / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["preprocessing"]["transforms"].append({"_target_": "scripts.gate.Gate", "path": str(gate.path)})
    path.write_text(json.dumps(config))
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").touch()
    (folder / "scripts" / "gate.py").write_text(_GATE)
    vouched(load_bundle(folder))
    return folder
