"""Run as a program: read one study some times in a fresh process, and print what was predicted and what it took.

python predicted_reads.py BUNDLE STUDY CACHE OUT TIMES
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from wetread.bundles import load_bundle
from wetread.images.folder import scan_folder
from wetread.memory import peak_mb, resident_mb, restart_peak
from wetread.records.job import JobSpec
from wetread.route.selection import select
from wetread.service.reading import RunnerOpener


def main(bundle_folder: Path, study_folder: Path, cache: Path, out: Path, times: int) -> None:
    bundle = load_bundle(bundle_folder)
    (study,) = scan_folder(study_folder).studies
    (chosen,) = select(study, bundle.manifest.inputs).reads
    runner = RunnerOpener("openvino", cache, threads=2)(bundle.folder, bundle.digest())
    reads = []
    for number in range(times):
        spec = JobSpec(f"j{number}", study, chosen, bundle.folder, bundle.digest(), out / str(number))
        prediction = runner.predict(spec)
        before_mb = resident_mb()
        restart_peak()
        outcome = runner(spec, lambda _stage, _share: None)
        reads.append(
            {
                "predicted_mb": prediction and prediction.memory_mb,
                "predicted_s": prediction and prediction.seconds,
                "basis": prediction and prediction.basis,
                "before_mb": before_mb,
                "peak_mb": peak_mb(),
                "seconds": sum(t.seconds for t in outcome.timings),
            }
        )
    print(json.dumps(reads))  # noqa: T201 (its answer)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]), int(sys.argv[5]))
