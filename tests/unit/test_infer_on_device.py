"""Windows stay where the engine computes: gathered, weighted, added up and compared there; only labels come back.

Without a GPU the device is PyTorch's ``meta`` (which has no values, and refuses what mixes it with host memory) or the
host memory that the fake TensorRT takes for its own; ``tests/gpu`` runs the same on a real one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer

import fake_tensorrt
from network_bundles import oblique_volume, unet_bundle
from wetread.infer.engines import tensorrt_memory
from wetread.infer.engines.cache import entries
from wetread.infer.engines.engine import backend
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.runtime_cache import RUNTIME_CACHE
from wetread.infer.model import open_model
from wetread.infer.program import EngineNetwork, where
from wetread.infer.streaming.axes import AxisMap
from wetread.infer.windows.sliding import stream


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
def test_windows_are_gathered_and_added_up_on_the_device_of_the_image(mode: str) -> None:
    inferer = SlidingWindowInferer(roi_size=(16, 16, 16), sw_batch_size=2, overlap=0.5, mode=mode)
    image = torch.empty((1, 20, 24, 28), device="meta")
    seen = set()

    def network(windows: torch.Tensor) -> torch.Tensor:
        seen.add(windows.device.type)
        return torch.cat([windows, windows, windows], dim=1)

    boxes = list(stream(inferer, image, network))
    assert seen == {"meta"}
    assert {scores.device.type for _, scores in boxes} == {"meta"}
    assert sum(scores[0].numel() for _, scores in boxes) == 20 * 24 * 28


def test_resampling_of_scores_stays_on_their_device() -> None:
    axis_map = AxisMap(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.tensor([0.5, 1]), torch.tensor([0.5, 0]), 2)
    moved = axis_map.to(torch.device("meta"))
    parts = (moved.low, moved.high, moved.low_weight, moved.high_weight)
    assert {part.device.type for part in parts} == {"meta"}
    assert axis_map.to(torch.device("cpu")).apply(torch.tensor([2.0, 4.0]), 0).tolist() == [3.0, 4.0]


@pytest.mark.parametrize("variant", list(fake_tensorrt.VARIANTS))
def test_bundle_read_with_tensorrt_takes_no_answer_through_host_memory(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, variant)
    memory = fake_tensorrt.HostMemory()
    monkeypatch.setattr(tensorrt_memory, "open_memory", lambda: memory)
    bundle, volume = unet_bundle(tmp_path / "b"), oblique_volume()
    name = "tensorrt-rtx" if "rtx" in variant else "tensorrt"
    model = open_model(bundle, engine=name, cache_folder=tmp_path / "c")
    before = memory.through_host
    answer = model.run({"image": volume}).array  # type: ignore[union-attr]
    assert memory.through_host == before
    expected = open_model(bundle, engine="torch", cache_folder=tmp_path / "c").run({"image": volume})
    assert np.mean(answer == expected.array) >= 0.9999  # type: ignore[union-attr]


def test_devices_that_a_config_names_do_not_keep_windows_in_host_memory(tmp_path: Path) -> None:
    bundle = unet_bundle(tmp_path / "b")
    config = json.loads(bundle.config_path.read_text())
    config["inferer"] |= {"device": "$torch.device('cpu')", "sw_device": "$torch.device('cpu')"}
    bundle.config_path.write_text(json.dumps(config))
    model = open_model(bundle, engine="torch", cache_folder=tmp_path / "c")
    assert (model._opened.program.inferer.device, model._opened.program.inferer.sw_device) == (None, None)  # type: ignore[attr-defined]


class _Full:
    """A device with no room for a whole volume, only for windows."""

    def __init__(self, inferer: SlidingWindowInferer) -> None:
        self.inferer, self.asked = inferer, 0

    def __call__(self, image: torch.Tensor, network: object) -> torch.Tensor:
        self.asked += 1
        if self.asked == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return torch.as_tensor(self.inferer(image, network))


def test_volume_that_the_device_has_no_room_for_is_added_up_in_host_memory(tmp_path: Path) -> None:
    model = open_model(unet_bundle(tmp_path / "b"), engine="torch", cache_folder=tmp_path / "c")
    program = model._opened.program
    volume = oblique_volume()
    expected = model.run({"image": volume}).array  # type: ignore[union-attr]
    full = _Full(program.inferer)  # type: ignore[attr-defined]
    model._program = replace(program, inferer=full, tail=None)  # type: ignore[type-var]
    np.testing.assert_array_equal(model.run({"image": volume}).array, expected)  # type: ignore[union-attr]
    assert full.asked == 2


def test_network_says_where_its_images_are_best(tmp_path: Path) -> None:
    def make() -> torch.nn.Module:
        return torch.nn.Conv3d(1, 2, 1)

    plan = NetworkPlan("n", key="k", make=make, cache_folder=tmp_path)
    network = EngineNetwork(backend("torch").open_engine(plan))
    assert where(network) == network.where
    assert where(torch.nn.Identity()) == torch.device("cpu")


@pytest.fixture
def rtx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkPlan:
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx")
    fake_tensorrt._RuntimeCache.compiled.clear()
    torch.manual_seed(1)
    network = torch.nn.Conv3d(1, 2, 3).eval()
    return NetworkPlan("n", key="k", make=lambda: network, cache_folder=tmp_path / "c")


def _asked(plan: NetworkPlan, *batches: int) -> list[str]:
    """Kernels that had to be compiled for these questions."""
    before = len(fake_tensorrt._RuntimeCache.compiled)
    engine = backend("tensorrt-rtx").open_engine(plan)
    for batch in batches:
        engine(np.zeros((batch, 1, 8, 8, 8), np.float32))
    engine.close()
    return fake_tensorrt._RuntimeCache.compiled[before:]


def test_kernels_compiled_at_run_time_are_kept_beside_the_engine(rtx: NetworkPlan) -> None:
    assert _asked(rtx, 1, 3) == ["(1, 1, 8, 8, 8)", "(3, 1, 8, 8, 8)"]
    (entry,) = entries(rtx.cache_folder, network=rtx.key)
    assert (entry.folder / RUNTIME_CACHE).is_file()
    assert _asked(rtx, 1, 3) == []


@pytest.mark.parametrize("content", [b"rubbish", b'{"machine": "another", "kernels": ["x"]}', b""])
def test_kernels_of_another_machine_or_damaged_ones_are_compiled_anew(rtx: NetworkPlan, content: bytes) -> None:
    _asked(rtx, 1)
    (entry,) = entries(rtx.cache_folder, network=rtx.key)
    (entry.folder / RUNTIME_CACHE).write_bytes(content)
    assert _asked(rtx, 1) == ["(1, 1, 8, 8, 8)"]
    assert _asked(rtx, 1) == []
