"""What a read is predicted to take, against what it took: each in a fresh process, from DICOM files to results."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from network_bundles import unet_bundle
from phantoms import write_series
from threshold_bundle import write_threshold_bundle
from wetread.bundles import Bundle, load_bundle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's high-water mark")

PROGRAM = Path(__file__).with_name("predicted_reads.py")
SMALL, LARGE = (40, 96, 80), (80, 200, 160)


def threshold(folder: Path) -> Bundle:
    return load_bundle(write_threshold_bundle(folder))


def whole_image(folder: Path) -> Bundle:
    """The network takes the image as it is: its structure says nothing of what that costs."""
    config = write_threshold_bundle(folder) / "configs" / "inference.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "inferer": {"_target_": "SimpleInferer"}}))
    return load_bundle(folder)


def study(folder: Path, shape: tuple[int, int, int]) -> Path:
    write_series(folder, shape=shape, spacing_mm=(1.2, 0.9, 1.1))
    return folder


def reads(bundle: Bundle, study: Path, cache: Path, out: Path, *, times: int) -> list[dict[str, Any]]:
    """What a fresh process says of so many reads of one study."""
    command = [sys.executable, str(PROGRAM), str(bundle.folder), str(study), str(cache), str(out), str(times)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def assert_bound(read: dict[str, Any]) -> None:
    """An upper bound of the whole process, and not more than twice what it took; the read's own share within 300 MB."""
    assert read["peak_mb"] <= read["predicted_mb"] <= 2 * read["peak_mb"]
    taken, foreseen = read["peak_mb"] - read["before_mb"], read["predicted_mb"] - read["before_mb"]
    assert foreseen <= 2 * taken + 300


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        pytest.param(threshold, LARGE, id="argmax-first-large"),
        pytest.param(unet_bundle, SMALL, id="zoo-order-small"),
        pytest.param(threshold, SMALL, id="argmax-first-small", marks=pytest.mark.soak),
        pytest.param(unet_bundle, LARGE, id="zoo-order-large", marks=pytest.mark.soak),
    ],
)
def test_prediction_bounds_memory_within_a_factor_of_two_and_time_after_the_first_reads(
    make: Callable[[Path], Bundle], shape: tuple[int, int, int], tmp_path: Path
) -> None:
    bundle = make(tmp_path / "bundle")
    cold, warm, last = reads(bundle, study(tmp_path / "in", shape), tmp_path / "cache", tmp_path / "out", times=3)
    assert "windows" in cold["basis"]
    assert "1 read on this machine" in warm["basis"]
    for read in (cold, warm):
        assert_bound(read)
    seen = [cold["seconds"], warm["seconds"]]  # of the machine as busy as it was then
    assert min(seen) / 2 <= last["predicted_s"] <= 2 * max(seen)


def test_bundle_without_windows_is_predicted_from_its_first_read(tmp_path: Path) -> None:
    """Also for a study several times as large, and for a process that must compile first."""
    bundle, cache = whole_image(tmp_path / "bundle"), tmp_path / "cache"
    small, large = study(tmp_path / "s", SMALL), study(tmp_path / "l", LARGE)
    first, second = reads(bundle, small, cache, tmp_path / "o1", times=2)
    assert first["predicted_mb"] is None
    assert_bound(second)
    (other,) = reads(bundle, large, cache, tmp_path / "o2", times=1)
    assert other["predicted_mb"] >= other["peak_mb"]
    *_, last = reads(bundle, large, cache, tmp_path / "o3", times=2)
    assert_bound(last)
