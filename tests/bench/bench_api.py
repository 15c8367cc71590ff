# ruff: noqa: T201 (a script that prints its result)
"""The HTTP interface as a reader feels it: from the click to the findings of a read that exists, over the loopback.

    python tests/bench/bench_api.py [--runs 20] [--json FILE]

A click is what the desktop does: the bundles that fit, the job, its result document, the review; each on a connection
that is open. Beside it the label map, and a 300-slice series' list in slice order.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from peers import PLAIN, WetreadProcess, config
from phantoms import write_series
from reader import ReadersProgram
from threshold_bundle import write_threshold_bundle

SLICES = 300
LIMIT_MS = 300.0


def main() -> int:
    """Measure, print and write the figures; exit code 1 when a click takes longer than promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = {
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "runs": arguments.runs,
            **_measure(Path(name), arguments.runs),
        }
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n", encoding="utf-8")
    return 0 if figures["click_to_findings_ms"] < LIMIT_MS else 1


def _measure(folder: Path, runs: int) -> dict[str, float]:
    write_threshold_bundle(folder / "bundles" / "threshold")
    phantom = write_series(folder / "study", shape=(SLICES, 128, 128))
    service = WetreadProcess(folder / "service", config(folder / "bundles", mode="off", api=""), program=PLAIN)
    service.start()
    try:
        jane = ReadersProgram(service)
        study = jane.upload(phantom.paths)
        job = jane.read(study)
        series = jane.result(job)["input"]["series_instance_uid"]

        def click() -> None:
            latest = jane.get(f"/studies/{study}/bundles")[0]["latest_job"]
            assert jane.result(latest)["findings"]
            jane.get(f"/jobs/{latest}/review")

        return {
            "click_to_findings_ms": _median_ms(click, runs),
            "result_ms": _median_ms(lambda: jane.result(job), runs),
            "labels_ms": _median_ms(lambda: jane.http.get(f"/jobs/{job}/labels"), runs),
            "series_list_ms": _median_ms(lambda: jane.get(f"/studies/{study}/series/{series}/instances"), runs),
            "progress_ms": _median_ms(lambda: list(jane.events(job)), runs),
        }
    finally:
        service.stop()


def _median_ms(ask: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        ask()
        times.append(1000.0 * (time.perf_counter() - started))
    return round(statistics.median(times), 1)


if __name__ == "__main__":
    sys.exit(main())
