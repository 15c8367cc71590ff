# ruff: noqa: T201 (a script that prints its result)
"""The standalone window as a reader feels it: opening, leafing with a large overlay, the click, and the GUI thread.

    QT_QPA_PLATFORM=offscreen python tests/bench/bench_desktop.py [--slices 300] [--side 512] [--json FILE]

Opening is from the request to the first image painted, and until all slices are there; the GUI thread's longest turn is
as ``gui_thread`` measures it. Leafing shows every slice once,
painted, in the axial plane of a window of 1500 × 950 with a label layer of 104 classes. The click is the button on a
study whose read exists, until its findings are in the list, against a running ``wetread serve``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from qtpy.QtWidgets import QApplication

from gui_thread import watched
from peers import PLAIN, WetreadProcess, config
from phantoms import write_series
from reader import ReadersProgram
from threshold_bundle import write_threshold_bundle
from wetread.memory import peak_mb
from wetread_desktop.client.opened import OpenRequest
from wetread_desktop.client.settings import DeskSettings, SettingsFolder
from wetread_desktop.host import LabelVolume, Legend, LegendEntry
from wetread_desktop.hosts.window.application import Application
from wetread_desktop.hosts.window.planes import View
from wetread_desktop.hosts.window.viewer import Viewer

CLASSES = 104
LIMITS = {"first_image_s": 2.0, "images_per_s": 30.0, "click_to_findings_ms": 300.0, "gui_blocked_ms": 100.0}
"""What is promised; of ``images_per_s`` at least, of the others at most."""


def main() -> int:
    """Measure, print and write the figures; exit code 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    qt = QApplication([])
    with tempfile.TemporaryDirectory() as name:
        figures = _measure(Path(name), qt, arguments.slices, arguments.side)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "platform": qt.platformName()}
    text = json.dumps({"machine": machine, "load": os.getloadavg()[0], **figures}, indent=2)
    print(text)
    if arguments.json:
        Path(arguments.json).write_text(text + "\n", encoding="utf-8")
    missed = [k for k, limit in LIMITS.items() if (figures[k] < limit) == (k == "images_per_s")]
    print("missed:", ", ".join(missed) or "nothing")
    return 1 if missed else 0


def _measure(folder: Path, qt: QApplication, slices: int, side: int) -> dict[str, float]:
    write_threshold_bundle(folder / "bundles" / "threshold")
    write_series(folder / "ct", shape=(slices, side, side), spacing_mm=(1.0, 0.7, 0.7), modality="CT")
    small = write_series(folder / "mr", study_seed="read")
    service = WetreadProcess(folder / "service", config(folder / "bundles", mode="off", api=""), program=PLAIN)
    service.start()
    try:
        jane = ReadersProgram(service)
        jane.read(jane.upload(small.paths))
        profile = SettingsFolder(folder / "profile")
        profile.save(DeskSettings(url=service.api, reader=jane.reader, organization="City Hospital"))
        profile.save_token((service.data / "api.token").read_text().strip())
        application = Application(profile)
        application.window.show()
        qt.processEvents()
        figures = _opening(application, folder / "ct") | _leafing(application, qt) | _click(application, folder / "mr")
        application.window.close()
    finally:
        service.stop()
    return figures


def _opening(application: Application, folder: Path) -> dict[str, float]:
    with watched() as blocked:
        began, cpu = time.perf_counter(), time.process_time()
        application.take(OpenRequest(folder=str(folder)))
        _until(lambda: application.window.viewer.images is not None)
        first, first_cpu = time.perf_counter(), time.process_time()
        images = application.window.viewer.images
        _until(lambda: images is not None and bool(images.read.all()))
        whole = time.perf_counter()
    print(blocked)
    return {
        "first_image_s": round(first - began, 2),
        "first_image_cpu_s": round(first_cpu - cpu, 2),
        "all_slices_s": round(whole - began, 2),
        "gui_blocked_ms": round(blocked.longest_wait_ms, 1),
        "gui_blocked_cpu_ms": round(blocked.longest_ms, 1),
        "gui_blocked_wall_ms": round(blocked.longest_wall_ms, 1),
        "peak_mb": round(peak_mb()),
    }


def _leafing(application: Application, qt: QApplication) -> dict[str, float]:
    viewer, series = application.window.viewer, application.host.active_series()
    images = viewer.images
    assert images is not None
    assert images.affine is not None
    assert series is not None
    # All classes in every slice, in blocks, as a segmentation of the whole body has them.
    k, row, column = np.indices(images.shape, sparse=True)
    values = ((k // 24 * 5 + row // 48 * 11 + column // 48) % (CLASSES + 1)).astype(np.uint8)
    affine = tuple(tuple(float(v) for v in line) for line in images.affine)
    legend = Legend(tuple(LegendEntry(n, f"class {n}", (n * 2, 255 - n, n * 7 % 256)) for n in range(1, CLASSES + 1)))
    began = time.perf_counter()
    application.host.add_overlay(
        series, LabelVolume(values.tobytes(), images.shape, affine, images.frame_of_reference_uid), legend
    )
    added = time.perf_counter() - began
    viewer.step(View.AXIAL, -images.shape[0])
    qt.processEvents()
    axial = _leaf(viewer, qt, View.AXIAL, images.shape[0] - 1)
    viewer.step(View.SAGITTAL, -images.shape[2])
    qt.processEvents()
    sagittal = _leaf(viewer, qt, View.SAGITTAL, 100)
    return {
        "add_overlay_ms": round(added * 1000, 1),
        "images_per_s": round(len(axial) / sum(axial), 1),
        "slowest_image_ms": round(max(axial) * 1000, 1),
        "sagittal_images_per_s": round(len(sagittal) / sum(sagittal), 1),
        "slowest_sagittal_image_ms": round(max(sagittal) * 1000, 1),
    }


def _leaf(viewer: Viewer, qt: QApplication, view: View, steps: int) -> list[float]:
    """Seconds for each image."""
    times = []
    for _ in range(steps):
        before = time.perf_counter()
        viewer.step(view, 1)
        qt.processEvents()
        times.append(time.perf_counter() - before)
    return times


def _click(application: Application, folder: Path) -> dict[str, float]:
    """A study whose read exists is asked for and its findings shown as soon as it is open."""
    presenter = application.presenter
    application.take(OpenRequest(folder=str(folder)))
    _until(lambda: presenter.state.sign.enabled and bool(presenter.state.findings))
    times = []
    for _ in range(10):
        presenter.read_again()
        _until(lambda: application.panel.study.primary.isVisible() and presenter.state.primary.enabled)
        before = time.perf_counter()
        application.panel.study.primary.click()
        _until(lambda: bool(presenter.state.findings))
        times.append((time.perf_counter() - before) * 1000)
        _until(lambda: presenter.state.sign.enabled)
    return {"click_to_findings_ms": round(sorted(times)[len(times) // 2], 1)}


def _until(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        QApplication.processEvents()
        if time.monotonic() > deadline:
            raise SystemExit("it did not come to that within two minutes")


if __name__ == "__main__":
    sys.exit(main())
