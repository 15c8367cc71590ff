"""Memory and time before a read, and the refusal of one that does not fit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.transforms import Activationsd, AsDiscreted, Compose, CropForegroundd, Invertd, Orientationd, Spacingd
from torch import nn

from network_bundles import oblique_volume
from wetread.infer.geometry import to_meta_tensor
from wetread.infer.predict import (
    COST,
    WindowCost,
    can_predict,
    kept_or_measured,
    measure,
    predict,
    working_shape,
)
from wetread.infer.program import Program
from wetread.infer.streaming.tail import streamed
from wetread.memory import available_mb, peak_mb, restart_peak, total_mb

GEOMETRY = [Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", pixdim=(1.5, 1.5, 2.0))]
COST_105 = WindowCost(seconds=2.0, memory_mb=1000, classes=105)
MM = np.array([[0, 0, 0.75, 0], [0, 0.75, 0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]])


def _program(
    *, argmax_first: bool = False, stream: bool = True, network: Any = None, roi: Any = (96, 96, 96)
) -> Program:
    preprocessing = Compose([*GEOMETRY, CropForegroundd("image", source_key="image")])
    invert = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=argmax_first)
    order = [AsDiscreted("pred", argmax=True), invert] if argmax_first else [invert, AsDiscreted("pred", argmax=True)]
    post = Compose([Activationsd("pred", softmax=True), *order])
    inferer = SlidingWindowInferer(roi, 1, 0.25)
    program = Program(preprocessing, inferer, network or nn.Conv3d(1, 2, 1), post, "image", "pred")
    return streamed(program) if stream else program


def test_grid_of_the_windows_is_known_without_a_voxel() -> None:
    volume = oblique_volume((18, 40, 33))
    image = to_meta_tensor(volume)[None]
    prepared = Compose(GEOMETRY)({"image": image})["image"]
    assert working_shape(_program().preprocessing, (33, 40, 18), volume.affine, key="image") == prepared.shape[1:]


def test_windows_and_seconds_of_a_whole_body_ct() -> None:
    prediction = predict(_program(), (200, 512, 512), MM, COST_105)
    assert prediction.windows == 4 * 4 * 3
    assert 96 <= prediction.seconds <= 96 + 8


def test_streaming_is_predicted_to_need_a_part_of_the_memory() -> None:
    needed = {
        (stream, first): predict(_program(stream=stream, argmax_first=first), (200, 512, 512), MM, COST_105).memory_mb
        for stream in (True, False)
        for first in (True, False)
    }
    assert needed[True, True] < 3500
    assert needed[True, True] < needed[True, False] < needed[False, False]
    assert needed[False, False] > 20_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's high-water mark")
def test_memory_of_a_read_is_near_the_prediction() -> None:
    """The sums of 100 classes are most of it."""
    torch.manual_seed(1)
    program = _program(argmax_first=True, network=nn.Conv3d(1, 100, 1), roi=(32, 32, 32))
    volume = oblique_volume((60, 120, 100))
    cost = measure(program)
    assert cost.classes == 100
    predicted_mb = predict(program, volume.array.shape, volume.affine, cost).memory_mb
    image = to_meta_tensor(volume)[None]
    before_mb = restart_peak()
    program({"image": image})
    used_mb = peak_mb() - before_mb
    assert 0.3 * predicted_mb <= used_mb <= 1.4 * predicted_mb


def test_cost_is_measured_once_and_kept(tmp_path: Path) -> None:
    calls: list[int] = []

    def measured() -> WindowCost:
        calls.append(1)
        return COST_105

    assert kept_or_measured(tmp_path, measured) == kept_or_measured(tmp_path, measured) == COST_105
    (tmp_path / COST).write_text("{")
    assert kept_or_measured(tmp_path, measured) == COST_105
    assert len(calls) == 2


def test_only_windows_of_one_size_are_predicted() -> None:
    plain = _program()
    assert can_predict(plain)
    assert not can_predict(_program(roi=(-1, 96, 96)))
    assert not can_predict(Program(plain.preprocessing, SimpleInferer(), nn.Identity(), Compose([]), "image", "pred"))
    assert not can_predict(lambda images: images)


def _machine(root: Path, *, group: str, limits: dict[str, tuple[str, str, str]]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text("MemTotal:       8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n")
    (root / "proc/self/cgroup").write_text(group)
    for folder, files in limits.items():
        where = root / "sys/fs/cgroup" / folder
        where.mkdir(parents=True, exist_ok=True)
        names = ("memory.max", "memory.current") if "memory" not in folder.split("/")[0] else _V1
        for name, text in zip((*names, "memory.stat"), files, strict=True):
            (where / name).write_text(text)
    return root


_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
GB = 2**30


def test_memory_without_limits_is_what_the_kernel_says(tmp_path: Path) -> None:
    root = _machine(tmp_path, group="0::/\n", limits={"": ("max", "1", "inactive_file 0")})
    assert available_mb(root) == 4096
    assert total_mb(root) == 8192


def test_limit_of_a_group_above_counts_and_cache_is_free(tmp_path: Path) -> None:
    limits = {"box": (str(3 * GB), str(2 * GB), f"anon 5\ninactive_file {GB // 2}"), "box/inner": ("max", "0", "")}
    root = _machine(tmp_path, group="0::/box/inner\n", limits=limits)
    assert available_mb(root) == 1536
    assert total_mb(root) == 3072


def test_groups_of_version_1_count_too(tmp_path: Path) -> None:
    no_limit = "9223372036854771712"
    limits = {"memory/job": (str(2 * GB), str(GB), "total_inactive_file 0"), "memory": (no_limit, "5", "")}
    root = _machine(tmp_path, group="5:cpu,cpuacct:/\n4:memory:/job\n", limits=limits)
    assert available_mb(root) == 1024
    assert total_mb(root) == 2048


def test_this_machine_has_memory() -> None:
    assert 0 < available_mb() <= total_mb()
