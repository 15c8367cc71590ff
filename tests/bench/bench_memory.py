# ruff: noqa: T201 (a script that prints its result)
"""Peak memory and time of a 105-class bundle on a 512×512×200 CT, where the zoo's own order needs more than 20 GB.

    python tests/bench/bench_memory.py [--shape 512 512 200] [--engine auto] [--cache FOLDER] [--json FILE]

One run in a fresh process. Opening the model (export, gate against PyTorch) and reading the volume are measured apart:
the kernel's high-water mark is reset in between.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from wetread.infer.model import open_model
from wetread.infer.predict import can_predict, measure, predict
from wetread.records.study import SeriesRef
from wetread.records.volume import Volume

SPACING_MM = (2.0, 0.75, 0.75)


def main() -> int:
    """Measure and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 200), metavar=("COLUMNS", "ROWS", "SLICES"))
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--cache", help="keep exported networks and certificates here")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wetread-bench-") as folder:
        cache = Path(arguments.cache or folder) / "cache"
        figures = measured(Path(folder), tuple(arguments.shape[::-1]), engine=arguments.engine, cache=cache)
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n", encoding="utf-8")
    return 0


def measured(folder: Path, shape: tuple[int, int, int], *, engine: str, cache: Path) -> dict[str, object]:
    """Open the bundle, read one volume of ``shape`` ``(slice, row, column)``."""
    import zoo_like

    bundle = zoo_like.whole_body_bundle(folder / "bundle")
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) * SPACING_MM
    volume = Volume(zoo_like.body_ct(shape), affine, SeriesRef("1.2.3", "CT", ()), (), "1.2.4")
    started = time.perf_counter()
    model = open_model(bundle, engine=engine, cache_folder=cache)
    opened_s, open_peak = time.perf_counter() - started, status_mb("VmHWM")
    program = model._program
    assert can_predict(program)
    prediction = predict(program, shape, affine, measure(program))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # starts a new high-water mark
    before, started = status_mb("VmRSS"), time.perf_counter()
    answer = model.run({"image": volume})
    return {
        "bundle": "SegResNet, 105 classes, 1.5 mm",
        "volume": list(shape[::-1]),
        "engine": f"{model.identity.name} {model.identity.precision}",
        "open_s": round(opened_s, 1),
        "open_peak_mb": open_peak,
        "before_mb": before,
        "run_s": round(time.perf_counter() - started, 1),
        "run_peak_mb": status_mb("VmHWM"),
        "predicted_s": prediction.seconds,
        "predicted_peak_mb": before + prediction.memory_mb,
        "windows": prediction.windows,
        "labels": len(np.unique(answer.array)),
    }


def status_mb(name: str) -> int:
    """A figure of ``/proc/self/status`` in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{name}:")[2].split()[0]) // 1024


if __name__ == "__main__":
    raise SystemExit(main())
