# ruff: noqa: T201 (a script that prints its result)
"""From a volume to a label map on its grid: Wetread against ``monai.bundle run`` on the same bundle, volume and CPU.

    python tests/bench/bench_end_to_end.py [--pairs 5] [--case spleen ...] [--json FILE]

Each side is a process of its own; they run in turns, never at once. What is timed, after one run that does not count:

* Wetread: ``Model.run(volume)``, engine ``auto`` (OpenVINO in float32), volume in memory → label map in memory.
* MONAI: ``ConfigWorkflow.run()`` as ``python -m monai.bundle run`` calls it, with the bundle's own config, PyTorch in
  float32; ``initialize()`` with the weights comes before. It reads the volume from an uncompressed NIfTI file and
  writes its label map compressed, as it does by itself; how long its two file transforms take is measured apart, and
  the speed-up is given with and without them.

Cold is from the start of the process to its first answer (imports, weights, one volume; networks exported and certified
before). CPU seconds are those of all threads and of the processes that load: on a busy machine they say more than the
clock. Peak memory is the process's own after that first answer. Agreement is the share of voxels with the same label.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))

from wetread.bundles import Bundle, load_bundle
from wetread.records.study import SeriesRef
from wetread.records.volume import LabelMap, Volume

Labels = npt.NDArray[np.uint8]
BRAIN = Path(__file__).parents[2] / "monai_bundles" / "mr_brain_extraction"
AXIAL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
SIDES = ("wetread", "monai")
_OURS = ("OMP_WAIT_POLICY", "THP_MEM_ALLOC_ENABLE")
_RESULT = "RESULT "


@dataclass(frozen=True, slots=True)
class Case:
    """One bundle and one volume."""

    title: str
    target: float
    bundle: Callable[[Path], Bundle]
    volume: Callable[[], Volume]


def _ct(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Volume:
    import zoo_like

    affine = np.eye(4)
    affine[:3, :3] = np.array(AXIAL) * spacing_mm
    affine[:3, 3] = (-160.0, -160.0, 30.0)
    return Volume(zoo_like.body_ct(shape), affine, SeriesRef("1.2.3", "CT", ()), (), "1.2.4")


def _head() -> Volume:
    import nilearn.datasets

    from wetread.infer.gate.golden import golden_volume

    data = Path(nilearn.datasets.__file__).parent / "data"
    return golden_volume(data / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")


def _like(name: str) -> Callable[[Path], Bundle]:
    def bundle(folder: Path) -> Bundle:
        import zoo_like  # loads PyTorch, which a side is to do by itself

        return getattr(zoo_like, name)(folder)

    return bundle


def _brain(folder: Path) -> Bundle:
    return load_bundle(Path(shutil.copytree(BRAIN, folder)))


CASES = {
    "spleen": Case(
        "U-Net, 2 classes, 320×320×120", 3.0, _like("spleen_bundle"), lambda: _ct((120, 320, 320), (2.5, 1.0, 1.0))
    ),
    "brain": Case("mr_brain_extraction, MNI head", 3.0, _brain, _head),
    "swin": Case(
        "SwinUNETR f24, 14 classes, 240×240×80", 2.0, _like("swin_bundle"), lambda: _ct((80, 240, 240), (2.5, 1.0, 1.0))
    ),
}


def main() -> int:
    """Measure, print a table and write the figures as JSON."""
    arguments = _arguments()
    if arguments.serve:
        _serve(*arguments.serve)
        return 0
    rows = []
    for name in arguments.case or CASES:
        with tempfile.TemporaryDirectory(prefix="wetread-bench-") as folder:
            rows.append(_measured(name, Path(folder), arguments.pairs))
        _print_row(rows[-1])
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    text = json.dumps({"machine": machine, "pairs": arguments.pairs, "cases": rows}, indent=2)
    print(text)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--case", choices=CASES, action="append", help="default: all")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--serve", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _measured(name: str, folder: Path, pairs: int) -> dict[str, Any]:
    case = CASES[name]
    volume = case.volume()
    case.bundle(folder / "bundle")
    _write(volume, folder / "input.nii")
    _Side("wetread", folder).close()  # exports and certifies
    sides = {side: _Side(side, folder) for side in SIDES}
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(pairs):
        for side in SIDES:
            runs[side].append(sides[side].run())
    answers = [sides[side].close() for side in SIDES]
    ours, theirs = (statistics.median(run["run_s"] for run in runs[side]) for side in SIDES)
    files = statistics.median(run["files_s"] for run in runs["monai"])
    return {
        "case": name,
        "title": case.title,
        "wetread_s": round(ours, 3),
        "monai_s": round(theirs, 3),
        "files_s": round(files, 3),
        "cpu_s": {side: round(statistics.median(run["cpu_s"] for run in runs[side]), 2) for side in SIDES},
        "speedup": round(theirs / ours, 2),
        "speedup_without_files": round((theirs - files) / ours, 2),
        "target": case.target,
        "agreement": float(np.mean(answers[0] == answers[1])),
        "labelled": float(np.mean(answers[1] != 0)),
        "cold_s": {side: sides[side].cold_s for side in SIDES},
        "peak_mb": {side: sides[side].first["peak_mb"] for side in SIDES},
        "pairs_s": {side: [round(run["run_s"], 3) for run in runs[side]] for side in SIDES},
    }


class _Side:
    """One of the two in its own process, which runs when told to."""

    def __init__(self, side: str, folder: Path) -> None:
        self._answer = folder / f"{side}.npy"
        started = time.perf_counter()
        command = [sys.executable, __file__, "--serve", side, str(folder)]
        # This process has imported wetread.infer, which set these; MONAI is to run as it does by itself.
        own = {name: value for name, value in os.environ.items() if name not in _OURS}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own)
        self.first = self.run()
        self.cold_s = round(time.perf_counter() - started, 2)

    def run(self) -> dict[str, float]:
        """Figures of one run."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        for line in self._process.stdout:  # libraries print, too
            if line.startswith(_RESULT):
                return dict(json.loads(line.removeprefix(_RESULT)))
        raise SystemExit(f"the process ended with exit code {self._process.wait()}")

    def close(self) -> Labels:
        """End the process; its last answer."""
        self._process.communicate()
        return np.asarray(np.load(self._answer))


def _serve(side: str, folder_name: str) -> None:
    folder = Path(folder_name)
    bundle = load_bundle(folder / "bundle")
    run = _Monai(bundle, folder) if side == "monai" else _Wetread(bundle, folder)
    for _ in sys.stdin:
        started, cpu = time.perf_counter(), cpu_s()
        answer = run()
        figures = {"run_s": time.perf_counter() - started, "cpu_s": cpu_s() - cpu}
        figures |= {"files_s": run.file_s, "peak_mb": peak_mb()}
        print(_RESULT + json.dumps(figures), flush=True)
    np.save(folder / f"{side}.npy", answer)


def _write(volume: Volume, path: Path) -> None:
    from wetread.infer.geometry import monai_affine

    nibabel.save(nibabel.Nifti1Image(volume.array.transpose(2, 1, 0), monai_affine(volume.affine)), path)


class _Wetread:
    """The bundle as a worker runs it."""

    file_s = 0.0

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        from wetread.infer.model import open_model
        from wetread.nifti import read_nifti

        self._model = open_model(bundle, cache_folder=folder / "cache")
        self._volumes = {bundle.manifest.inputs[0].name: read_nifti(folder / "input.nii")}

    def __call__(self) -> Labels:
        answer = self._model.run(self._volumes)
        assert isinstance(answer, LabelMap)
        return answer.array


class _Monai:
    """The bundle as ``monai.bundle run`` runs it, kept for several runs."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        import torch
        from monai.bundle import ConfigWorkflow
        from monai.transforms import LoadImaged, SaveImaged

        self._file_s = multiprocessing.Value("d", 0.0)  # shared with the processes that load
        self._workflow = ConfigWorkflow(
            config_file=str(bundle.config_path),
            meta_file=str(bundle.folder / "configs" / "metadata.json"),
            logging_file=False,
            workflow_type="infer",
            bundle_root=str(bundle.folder),
            datalist=[str(folder / "input.nii")],
            output_dir=str(folder / "eval"),
            device=torch.device("cpu"),
        )
        self._workflow.initialize()
        for kind in (LoadImaged, SaveImaged):
            self._time(kind)

    @property
    def file_s(self) -> float:
        """Seconds that the two file transforms took in the last run."""
        return float(self._file_s.value)

    def __call__(self) -> Labels:
        self._file_s.value = 0.0
        self._workflow.run()
        prediction = self._workflow.parser.get_parsed_content("evaluator").state.output[0]["pred"]
        return np.asarray(prediction[0].numpy().transpose(2, 1, 0), np.uint8)

    def _time(self, kind: Any) -> None:
        plain = getattr(kind, "plain_call", kind.__call__)
        kind.plain_call = plain

        def timed(transform: Any, *args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            answer = plain(transform, *args, **kwargs)
            self._file_s.value += time.perf_counter() - started
            return answer

        kind.__call__ = timed


def cpu_s() -> float:
    """CPU seconds of this process and of those it started that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_mb() -> int:
    """Peak resident memory of this process; not ``ru_maxrss``, with which a child starts at that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _print_row(row: dict[str, Any]) -> None:
    cold, peak, cpu = row["cold_s"], row["peak_mb"], row["cpu_s"]
    print(
        f"{row['title']:40} {row['wetread_s']:7.2f} s  MONAI {row['monai_s']:7.2f} s  {row['speedup']:5.2f}× "
        f"(target {row['target']:g}×; without files {row['speedup_without_files']:.2f}×)  "
        f"CPU {cpu['wetread']:.1f} / {cpu['monai']:.1f} s  cold {cold['wetread']:.1f} / {cold['monai']:.1f} s  "
        f"peak {peak['wetread']} / {peak['monai']} MB  agreement {row['agreement']:.6f}",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
