# ruff: noqa: T201 (a script that prints its result)
"""The service as its users feel it: from the last instance to the last result, reception, and the command line's start.

    python tests/bench/bench_service.py [--runs 5] [--json FILE]

Reception is compared with DCMTK's storescp in the same run, same files, same sender; ours also syncs every instance to
disk and keeps its provenance. Medians; a busy machine is unkind to both alike.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from peers import HOST, WetreadProcess, config, free_port, require, storescu
from phantoms import write_series
from threshold_bundle import write_threshold_bundle
from waiting import until

STORESCP = "/usr/bin/storescp"
SLICES = 200


def main() -> int:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    figures = {
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
        "runs": arguments.runs,
        "help_s": _help_times(arguments.runs),
        "demo": _demo(arguments.runs),
        "reception": _reception(arguments.runs),
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n", encoding="utf-8")
    return 0


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _help_times(runs: int) -> float:
    def once() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "wetread", "--help"], check=True, capture_output=True)
        return time.perf_counter() - started

    return round(statistics.median(once() for _ in range(runs)), 3)


def _demo(runs: int) -> dict[str, float]:
    """The demo study with a warm worker: medians over whole runs."""
    documents = []
    with tempfile.TemporaryDirectory() as out:
        for _ in range(runs):
            command = [sys.executable, "-m", "wetread", "demo", "--json", "--out", out]
            documents.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    warm = [d for d in documents if d["waited_for_model_s"] < 0.5]
    keys = ("last_instance_to_delivered_s", "beyond_quiet_s", "engine_ready_s", "peak_memory_mb")
    figures = {key: round(statistics.median(d[key] for d in warm or documents), 2) for key in keys}
    return {"warm_runs": len(warm), **figures}


def _reception(runs: int) -> dict[str, float]:
    """Instances per second from DCMTK's storescu, 200 slices of 512 × 512, in interleaved pairs."""
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_threshold_bundle(folder / "bundles" / "threshold")
        service = WetreadProcess(folder / "wetread", config(folder / "bundles", quiet_s=3600.0))
        service.start()
        try:
            for run in range(runs):
                series = write_series(folder / f"s{run}", study_seed=str(run), shape=(SLICES, 512, 512))
                with _storescp(folder / f"dcmtk{run}") as port:
                    theirs.append(SLICES / _send_s(port, series.paths, "STORESCP"))
                ours.append(SLICES / _send_s(service.port, series.paths, "WETREAD"))
        finally:
            service.stop()
    return {
        "wetread_instances_per_s": round(statistics.median(ours), 1),
        "dcmtk_storescp_instances_per_s": round(statistics.median(theirs), 1),
        "ratio": round(statistics.median(o / t for o, t in zip(ours, theirs, strict=True)), 2),
    }


def _send_s(port: int, paths: tuple[Path, ...], called: str) -> float:
    started = time.perf_counter()
    sent = storescu(port, paths, called=called)
    assert sent.returncode == 0, sent.stderr
    return time.perf_counter() - started


@contextlib.contextmanager
def _storescp(folder: Path) -> Iterator[int]:
    folder.mkdir()
    port = free_port()
    environment = {**os.environ, "TCP_NODELAY": "1"}
    process = subprocess.Popen(
        [require(STORESCP), "-od", str(folder), "-aet", "STORESCP", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: _listening(port), what="storescp listens")
        yield port
    finally:
        process.terminate()
        process.wait()


def _listening(port: int) -> bool:
    done = subprocess.run(["/usr/bin/echoscu", "-aec", "STORESCP", HOST, str(port)], capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
