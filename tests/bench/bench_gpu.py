# ruff: noqa: T201 (a script that prints its result)
"""What a GPU has to show: TensorRT against PyTorch eager and autocast on the same GPU, network by network.

    python tests/bench/bench_gpu.py [--runs 20] [--only UNet] [--json FILE]

Without an NVIDIA GPU, or without a TensorRT, it says so and ends with exit code 1: nothing was measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer
from networks import AHEAD_OF_TIME, Network

from wetread.errors import EngineDisagrees, EngineUnavailable
from wetread.infer.engines.engine import backend
from wetread.infer.engines.tensorrt_engine import TensorRtBackend, TensorRtEngine
from wetread.infer.engines.tensorrt_memory import this_gpu
from wetread.infer.engines.wish import Precision
from wetread.infer.graph.onnx_check import noise
from wetread.infer.windows.sliding import OtherGrid, stream

ENGINES = ("tensorrt", "tensorrt-rtx")
PRECISIONS: tuple[Precision, ...] = ("f32", "f16")


def main() -> int:
    """Measure, print a table and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", action="append", metavar="NETWORK")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    try:
        gpu, engines = this_gpu(), _engines()
    except EngineUnavailable as exc:
        print(f"nothing was measured: {exc}", file=sys.stderr)
        return 1
    rows = []
    for network in AHEAD_OF_TIME:
        if not arguments.only or network.name in arguments.only:
            rows += _measured(network, engines, arguments.runs)
    figures = {"gpu": str(gpu), "torch": str(torch.__version__), "engines": engines, "rows": rows}
    _print(figures)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _engines() -> dict[str, str]:
    """Versions of those that can run here. Raises: ``EngineUnavailable`` when none can."""
    found, problems = {}, []
    for name in ENGINES:
        try:
            backend(name).device()
            found[name] = backend(name).library_version()
        except EngineUnavailable as exc:
            problems.append(str(exc))
    if not found:
        raise EngineUnavailable("; ".join(problems))
    return found


def _measured(network: Network, engines: dict[str, str], runs: int) -> list[dict[str, Any]]:
    image = torch.from_numpy(noise(network.shape)).cuda()
    module = network.plan(Path()).make().cuda()
    expected = _eager(module, image, half=False)
    rows = [
        _row(network, "torch eager", lambda: _eager(module, image, half=False), expected, runs),
        _row(network, "torch autocast f16", lambda: _eager(module, image, half=True), expected, runs),
    ]
    for name in engines:
        for precision in PRECISIONS:
            rows.append(_of_engine(network, name, precision, image, expected, runs))
    return rows


def _of_engine(
    network: Network, name: str, precision: Precision, image: torch.Tensor, expected: torch.Tensor, runs: int
) -> dict[str, Any]:
    library = backend(name)
    assert isinstance(library, TensorRtBackend)
    with tempfile.TemporaryDirectory(prefix="wetread-bench-") as folder:
        started = time.perf_counter()
        try:
            engine = library.open_engine(network.plan(Path(folder), precision=precision))
            engine.on_device(image)
        except (EngineUnavailable, EngineDisagrees) as exc:
            return {"network": network.name, "what": f"{name} {precision}", "problem": str(exc)}
        ready_s = time.perf_counter() - started
        row = _row(network, f"{name} {precision}", lambda: engine.on_device(image), expected, runs)
        sliding = _sliding_ms(engine, network.shape, runs)
        engine.close()
    return row | {"ready_s": round(ready_s, 1), **sliding}


def _sliding_ms(engine: TensorRtEngine, shape: tuple[int, ...], runs: int) -> dict[str, float]:
    """A volume of twice the window along each axis, its windows on the GPU and through host memory; 3-D networks."""
    if len(shape) != 5:
        return {}
    inferer = SlidingWindowInferer(roi_size=shape[2:], sw_batch_size=4, overlap=0.25, mode="gaussian")
    volume = torch.rand((shape[1], *(2 * side for side in shape[2:])))

    def through_host(windows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(engine(windows.numpy()))

    found = {}
    for name, image, network in (
        ("sliding_on_gpu_ms", volume.cuda(), engine.on_device),
        ("sliding_through_host_ms", volume, through_host),
    ):
        seconds = []
        for _ in range(max(3, runs // 4)):
            torch.cuda.synchronize()
            started = time.perf_counter()
            try:
                for _box, scores in stream(inferer, image, network):
                    scores.argmax(0).cpu()
            except OtherGrid:  # a classifier has no windows
                return {}
            seconds.append(time.perf_counter() - started)
        found[name] = round(1000 * statistics.median(seconds), 1)
    return found


def _eager(module: torch.nn.Module, image: torch.Tensor, *, half: bool) -> torch.Tensor:
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.float16, enabled=half):
        return torch.as_tensor(module(image)).float()


def _row(
    network: Network, what: str, run: Callable[[], torch.Tensor], expected: torch.Tensor, runs: int
) -> dict[str, Any]:
    for _ in range(3):
        answer = run()
    seconds = []
    for _ in range(runs):
        torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return {
        "network": network.name,
        "what": what,
        "median_ms": round(1000 * statistics.median(seconds), 3),
        "max_difference": float((answer - expected).abs().max()),
        "same_label": float((answer.argmax(1) == expected.argmax(1)).float().mean()),
        "gpu_peak_mb": round(torch.cuda.max_memory_allocated() / 1e6),
    }


def _print(figures: dict[str, Any]) -> None:
    print(f"{figures['gpu']}, torch {figures['torch']}, {figures['engines']}")
    print(f"{'network':14}{'':22}{'ms':>9}{'×':>7}{'max diff':>11}{'label':>9}{'ready s':>9}")
    eager = {r["network"]: r["median_ms"] for r in figures["rows"] if r["what"] == "torch eager"}
    for row in figures["rows"]:
        if "problem" in row:
            print(f"{row['network']:14}{row['what']:22}  {row['problem']}")
            continue
        ratio = eager[row["network"]] / row["median_ms"]
        print(
            f"{row['network']:14}{row['what']:22}{row['median_ms']:9.2f}{ratio:7.2f}{row['max_difference']:11.1e}"
            f"{row['same_label']:9.5f}{row.get('ready_s', ''):>9}"
        )


if __name__ == "__main__":
    raise SystemExit(main())
