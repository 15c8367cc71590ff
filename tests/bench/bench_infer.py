# ruff: noqa: T201 (a script that prints its result)
"""How long inference takes and how much memory it needs: torch against OpenVINO on the brain extraction bundle.

    python tests/bench/bench_infer.py [--pairs 5] [--json FILE]

Times are medians of interleaved pairs in one process, so that a busy machine is unkind to both engines alike.
Peak memory is that of a fresh process for each engine, which opens the model (gate included) and reads one head.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nilearn.datasets
import numpy as np

from wetread.bundles import Bundle, load_bundle
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.engines.engine import backend
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.gate.golden import golden_volume
from wetread.infer.model import Model, open_model
from wetread.records.volume import Volume

ENGINES = ("torch", "openvino")
BUNDLE = Path(__file__).parents[2] / "monai_bundles" / "mr_brain_extraction"
FINE_SHAPE = (1, 1, 256, 256, 256)


def main() -> int:
    """Measure, print a table and write the figures as JSON."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="wetread-bench-") as folder:
        cache = Path(arguments.cache or folder)
        if arguments.once:
            print(json.dumps(_once(arguments.once, cache)))
            return 0
        figures = {
            "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "pairs": arguments.pairs,
            "network_256_s": _network_times(load_bundle(BUNDLE), cache, arguments.pairs),
            "model_run_s": _run_times(cache, arguments.pairs),
            "fresh_process": {name: _fresh(name, cache) for name in ENGINES},
        }
    _print_table(figures)
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--once", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    return parser.parse_args()


def _head() -> Volume:
    data = Path(nilearn.datasets.__file__).parent / "data"
    return golden_volume(data / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")


def _network_times(bundle: Bundle, cache: Path, pairs: int) -> dict[str, float]:
    """The fine network alone, 256³."""
    config = InferenceConfig(bundle)
    weights = next(w for w in bundle.manifest.weights if w.network == bundle.manifest.runtime.network)
    plan = NetworkPlan(
        name=weights.network,
        key=config.network_key(weights),
        make=lambda: config.make_network(weights),
        cache_folder=cache,
        threads=os.cpu_count() or 1,
    )
    image = np.random.default_rng(0).normal(0.449, 0.226, FINE_SHAPE).astype(np.float32)
    engines = {name: backend(name).open_engine(plan) for name in ENGINES}
    times = _interleaved({name: lambda engine=engine: engine(image) for name, engine in engines.items()}, pairs)
    for engine in engines.values():
        engine.close()
    return times


def _run_times(cache: Path, pairs: int) -> dict[str, float]:
    """A whole head, from volume to label map."""
    head = _head()
    models: dict[str, Model] = {}
    for name in ENGINES:
        models[name] = open_model(load_bundle(BUNDLE), engine=name, cache_folder=cache)
    times = _interleaved(
        {name: lambda model=model: model.run({"image": head}) for name, model in models.items()}, pairs
    )
    for model in models.values():
        model.close()
    return times


def _interleaved(work: dict[str, Callable[[], object]], pairs: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for call in work.values():
        call()
    for _ in range(pairs):
        for name, call in work.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: round(statistics.median(values), 3) for name, values in seconds.items()}


def _fresh(engine: str, cache: Path) -> dict[str, float]:
    # An own cache folder: the first start of a machine, with export and gate, is the one that needs most memory.
    command = [sys.executable, __file__, "--once", engine, "--cache", str(cache / f"fresh-{engine}")]
    first = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    second = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {
        "first_open_s": first["open_s"],
        "first_peak_mb": first["peak_mb"],
        "open_s": second["open_s"],
        "first_run_s": second["run_s"],
        "peak_mb": second["peak_mb"],
    }


def _once(engine: str, cache: Path) -> dict[str, float]:
    started = time.perf_counter()
    model = open_model(load_bundle(BUNDLE), engine=engine, cache_folder=cache)
    opened = time.perf_counter()
    model.run({"image": _head()})
    done = time.perf_counter()
    return {"open_s": round(opened - started, 2), "run_s": round(done - opened, 2), "peak_mb": _peak_mb()}


def _peak_mb() -> int:
    """Peak resident memory of this process.

    Not ``ru_maxrss``: a child starts with that of its parent, which ran both engines.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _print_table(figures: dict[str, object]) -> None:
    rows: list[tuple[str, str]] = [("network_256_s", "LinkNet 256³"), ("model_run_s", "MNI head, volume to mask")]
    print(f"{'median of interleaved pairs':34}{'torch':>12}{'openvino':>12}{'ratio':>8}")
    for key, title in rows:
        times: dict[str, float] = figures[key]  # type: ignore[assignment]
        ratio = times["torch"] / times["openvino"]
        print(f"{title + ' (s)':34}{times['torch']:12.2f}{times['openvino']:12.2f}{ratio:7.1f}×")
    fresh: dict[str, dict[str, float]] = figures["fresh_process"]  # type: ignore[assignment]
    for key in fresh["torch"]:
        print(f"{'fresh process: ' + key:34}{fresh['torch'][key]:12.2f}{fresh['openvino'][key]:12.2f}")


if __name__ == "__main__":
    raise SystemExit(main())
