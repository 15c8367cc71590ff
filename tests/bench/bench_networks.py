# ruff: noqa: T201 (a script that prints its result)
"""Networks alone: OpenVINO against PyTorch on this CPU, and what TensorRT-RTX builds for GPUs that are not here.

    python tests/bench/bench_networks.py [--pairs 5] [--only UNet] [--json FILE]

Random weights. Times are medians of interleaved runs in one process. LinkNet takes real weights where they are
installed: its tolerance is stated for them. TensorRT-RTX is left out, and this is said, where it is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from networks import AHEAD_OF_TIME, LINKNET, ON_THE_CPU, Network

from wetread.bundles import load_bundle
from wetread.errors import EngineDisagrees, EngineUnavailable, WeightsMissing
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.engines.engine import Engine, FloatArray, backend
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.tensorrt_engine import TENSORRT_RTX
from wetread.infer.engines.tensorrt_memory import Gpu
from wetread.infer.engines.wish import Precision
from wetread.infer.graph.onnx_check import noise

BUNDLE = Path(__file__).parents[2] / "monai_bundles" / "mr_brain_extraction"
GPUS = ("sm86", "sm89", "sm120")
PRECISIONS: tuple[Precision, ...] = ("f32", "f16")


def main() -> int:
    """Measure, print two tables and write the figures as JSON."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="wetread-bench-") as folder:
        figures = {
            "cores": os.cpu_count(),
            "pairs": arguments.pairs,
            "cpu": [_on_cpu(n, Path(folder), arguments.pairs) for n in _picked(ON_THE_CPU, arguments)],
            "ahead_of_time": _ahead_of_time(_picked(AHEAD_OF_TIME, arguments), Path(folder)),
        }
    _print(figures)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", action="append", metavar="NETWORK")
    parser.add_argument("--json", help="write the figures to this file")
    return parser.parse_args()


def _picked(networks: Sequence[Network], arguments: argparse.Namespace) -> list[Network]:
    return [n for n in networks if not arguments.only or n.name in arguments.only]


def _on_cpu(network: Network, folder: Path, pairs: int) -> dict[str, Any]:
    plan, image = _plan(network, folder), _image(network)
    engines = {
        "torch": backend("torch").open_engine(plan),
        "openvino f32": backend("openvino").open_engine(plan),
        "openvino bf16": backend("openvino").open_engine(replace(plan, precision="bf16")),
    }
    answers: dict[str, FloatArray] = {}
    for name, engine in list(engines.items()):
        try:
            answers[name] = engine(image)
        except EngineUnavailable as exc:
            print(f"{network.name} {name}: {exc}")
            del engines[name]
    seconds, warm = _interleaved(engines, image, pairs)
    reference = answers.pop("torch")
    return {
        "network": network.name,
        "median_s": seconds,
        "speedup": {name: round(seconds["torch"] / seconds[name], 2) for name in answers},
        "warm_s": warm,
        "warm_speedup": {name: round(warm["torch"] / warm[name], 2) for name in answers},
        "max_difference": {name: float(np.abs(a - reference).max()) for name, a in answers.items()},
        "same_label": {n: float(np.mean(a.argmax(1) == reference.argmax(1))) for n, a in answers.items()},
    }


def _plan(network: Network, folder: Path) -> NetworkPlan:
    plan = network.plan(folder, threads=os.cpu_count() or 1)
    if network is not LINKNET:
        return plan
    bundle = load_bundle(BUNDLE)
    try:
        bundle.check_weights()
    except WeightsMissing:
        print("LinkNet: the bundle's weights are not installed, random ones instead")
        return plan
    config = InferenceConfig(bundle)
    weights = next(w for w in bundle.manifest.weights if w.network == bundle.manifest.runtime.network)
    return replace(plan, key=config.network_key(weights), make=lambda: config.make_network(weights))


def _image(network: Network) -> FloatArray:
    image = noise(network.shape)
    return image * np.float32(0.226) + np.float32(0.449) if network is LINKNET else image


def _interleaved(engines: dict[str, Engine], image: FloatArray, pairs: int) -> tuple[dict[str, float], ...]:
    """Median seconds of a call after one of another engine, and of a call after one of its own.

    The first finds caches cold and memory given back; the next windows of a study are of the second kind.
    """
    cold: dict[str, list[float]] = {name: [] for name in engines}
    warm: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(pairs):
        for name, engine in engines.items():
            for seconds in (cold, warm):
                started = time.perf_counter()
                engine(image)
                seconds[name].append(time.perf_counter() - started)
    for engine in engines.values():
        engine.close()
    return tuple({name: round(statistics.median(v), 4) for name, v in of.items()} for of in (cold, warm))


def _ahead_of_time(networks: list[Network], folder: Path) -> list[dict[str, Any]]:
    try:
        version = TENSORRT_RTX.library_version()
    except EngineUnavailable as exc:
        print(f"nothing was compiled ahead of time: {exc}")
        return []
    rows = []
    for network in networks:
        for precision in PRECISIONS:
            plan = network.plan(folder, precision=precision, threads=os.cpu_count() or 1)
            rows += [_built(network, plan, sm) | {"library": f"tensorrt-rtx {version}"} for sm in GPUS]
    return rows


def _built(network: Network, plan: NetworkPlan, sm: str) -> dict[str, Any]:
    row: dict[str, Any] = {"network": network.name, "precision": plan.precision, "gpu": sm}
    try:
        record = TENSORRT_RTX.build(plan, network.shape, gpu=Gpu("", sm)).record
    except (EngineUnavailable, EngineDisagrees) as exc:
        return row | {"problem": str(exc)}
    check = record.graph
    return row | {
        "seconds": record.seconds,
        "size_bytes": record.size_bytes,
        "graph_max_difference": check.max_difference,
        "graph_same_label": check.same_label,
    }


def _print(figures: dict[str, Any]) -> None:
    print(f"{'network alone':16}{'called after':>13}{'torch s':>9}{'f32 s':>9}{'×':>6}{'bf16 s':>9}{'×':>6}")
    for row in figures["cpu"]:
        for after, kind in (("another", ("median_s", "speedup")), ("itself", ("warm_s", "warm_speedup"))):
            times, speedup = (row[name] for name in kind)
            measured = (f"{times.get(e, 0):9.3f}{speedup.get(e, 0):6.2f}" for e in ("openvino f32", "openvino bf16"))
            print(f"{row['network']:16}{after:>13}{times['torch']:9.3f}{''.join(measured)}")
        off, label = row["max_difference"]["openvino f32"], row["same_label"].get("openvino bf16", 0)
        print(f"{'':16}f32 differs by {off:.1e} at most, bf16 has the same label in {label:.5f}")
    print(f"\n{'ahead of time':16}{'precision':>10}{'gpu':>7}{'build s':>9}{'MB':>8}{'graph off':>11}{'label':>9}")
    for row in figures["ahead_of_time"]:
        if "problem" in row:
            print(f"{row['network']:16}{row['precision']:>10}{row['gpu']:>7}  {row['problem']}")
            continue
        print(
            f"{row['network']:16}{row['precision']:>10}{row['gpu']:>7}{row['seconds']:9.2f}"
            f"{row['size_bytes'] / 1e6:8.1f}{row['graph_max_difference']:11.1e}{row['graph_same_label']:9.5f}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
