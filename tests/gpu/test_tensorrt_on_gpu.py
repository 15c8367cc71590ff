"""TensorRT on a real GPU: everything that the fake of ``tests/contract`` can only promise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import SegResNet, UNet
from torch import nn

from network_bundles import oblique_volume, unet_bundle
from wetread.errors import EngineUnavailable
from wetread.infer.compile import compile_bundle
from wetread.infer.engines.cache import adopt, entries
from wetread.infer.engines.engine import FloatArray, backend, choose_engine
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.runtime_cache import RUNTIME_CACHE
from wetread.infer.engines.tensorrt_engine import TensorRtEngine
from wetread.infer.engines.tensorrt_memory import CudaMemory, this_gpu
from wetread.infer.graph.onnx_check import allowed_difference
from wetread.infer.model import open_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU: TensorRT was not run on a device"),
]


def _unet() -> nn.Module:
    torch.manual_seed(11)
    return UNet(3, 2, 3, (8, 16, 32), (2, 2), num_res_units=2, norm="batch").eval()


def _segresnet() -> nn.Module:
    torch.manual_seed(12)
    return SegResNet(init_filters=8, in_channels=2, out_channels=3, blocks_down=(1, 2), blocks_up=(1,)).eval()


def _image(batch: int, *, seed: int = 5) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(batch, 2, 32, 32, 32)).astype(np.float32)


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def name(request: pytest.FixtureRequest) -> str:
    try:
        backend(request.param).device()
    except EngineUnavailable as exc:
        pytest.skip(str(exc))
    return str(request.param)


@pytest.fixture(params=[_unet, _segresnet])
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> NetworkPlan:
    make = request.param
    return NetworkPlan("network_def", key=make.__name__, make=make, cache_folder=tmp_path / "cache")


@pytest.fixture(params=["f32", "f16"])
def engine(request: pytest.FixtureRequest, name: str, plan: NetworkPlan) -> Iterator[TensorRtEngine]:
    opened = backend(name).open_engine(replace(plan, precision=request.param))
    assert isinstance(opened, TensorRtEngine)
    yield opened
    opened.close()


def _expected(plan: NetworkPlan, images: FloatArray) -> FloatArray:
    with torch.inference_mode():
        return np.asarray(plan.make()(torch.tensor(images)).numpy())


def test_engine_agrees_with_the_network_for_every_batch(engine: TensorRtEngine, plan: NetworkPlan) -> None:
    for batch in (1, 4, 4, 4, 3, 1, 1, 11):
        images = _image(batch, seed=batch)
        expected = _expected(plan, images)
        off = np.abs(engine(images) - expected)
        limit = allowed_difference(expected, engine.precision)
        assert np.mean(off <= limit) >= 0.9999
        assert off.max() <= 10 * limit


def test_later_answers_do_not_overwrite_earlier_ones(engine: TensorRtEngine) -> None:
    first = engine(_image(2))
    kept = first.copy()
    for seed in range(5):
        engine(_image(2, seed=seed))
    np.testing.assert_array_equal(first, kept)


def test_images_that_are_freed_at_once_are_answered_right(engine: TensorRtEngine) -> None:
    """The caller's tensor may be given back while the engine's stream still reads it."""
    expected = engine(_image(4))
    for _ in range(20):
        answer = engine.on_device(torch.from_numpy(_image(4)).cuda())
        torch.empty((4, 2, 32, 32, 32), device="cuda").fill_(9.0)
        np.testing.assert_allclose(answer.cpu().numpy(), expected, atol=1e-3)


def test_engine_is_proven_on_this_device_before_it_answers(engine: TensorRtEngine, plan: NetworkPlan) -> None:
    engine(_image(1))
    (entry,) = entries(plan.cache_folder, network=plan.key)
    noted = entry.on_device()
    assert noted is not None
    assert noted.device == str(this_gpu())


def test_engine_compiled_ahead_of_time_serves_here_without_a_rebuild(name: str, tmp_path: Path) -> None:
    if name != "tensorrt-rtx":
        pytest.skip("TensorRT does not build ahead of time")
    bundle = unet_bundle(tmp_path / "b")
    from wetread.infer.engines.tensorrt_engine import TENSORRT_RTX
    from wetread.infer.engines.tensorrt_memory import Gpu

    plan = NetworkPlan("network_def", key="unet", make=_unet, cache_folder=tmp_path / "there")
    built = TENSORRT_RTX.build(plan, (1, 2, 32, 32, 32), gpu=Gpu("", this_gpu().sm))
    here = replace(plan, cache_folder=tmp_path / "here", make=_never)
    assert adopt(built.folder, here.cache_folder) is not None
    engine = TENSORRT_RTX.open_engine(here)
    np.testing.assert_allclose(engine(_image(1)), _expected(plan, _image(1)), atol=1e-3)
    (compiled,) = compile_bundle(bundle, engine=name, cache_folder=tmp_path / "cache")
    assert compiled.on_device_part == "passed"


def _never() -> nn.Module:
    raise AssertionError("the network was built although a ready engine was installed")


def test_auto_serves_a_bundle_with_tensorrt(tmp_path: Path) -> None:
    choice = choose_engine("auto", precision="f32")
    if not choice.name.startswith("tensorrt"):
        pytest.skip(choice.reason)
    model = open_model(unet_bundle(tmp_path / "b"), cache_folder=tmp_path / "cache")
    assert (model.identity.name, model.identity.device) == (choice.name, str(this_gpu()))
    assert model.identity.certificate != "reference"


def test_reference_runs_on_the_gpu_in_float32(plan: NetworkPlan) -> None:
    reference = backend("torch").open_engine(plan)
    assert (reference.device, reference.where.type) == (str(this_gpu()), "cuda")
    np.testing.assert_allclose(reference(_image(2)), _expected(plan, _image(2)), atol=1e-4)


def test_windows_stay_on_the_gpu_and_labels_are_those_of_the_reference(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, volume = unet_bundle(tmp_path / "b"), oblique_volume((40, 90, 70))
    model = open_model(bundle, engine=name, cache_folder=tmp_path / "cache")
    model.run({"image": volume})
    through_host: list[bool] = []
    download = CudaMemory.download

    def watched(self: CudaMemory, buffer: torch.Tensor, *, to_host: bool) -> torch.Tensor:
        through_host.append(to_host)
        return download(self, buffer, to_host=to_host)

    monkeypatch.setattr(CudaMemory, "download", watched)
    answer = model.run({"image": volume})
    assert through_host
    assert not any(through_host)
    expected = open_model(bundle, engine="torch", cache_folder=tmp_path / "cache").run({"image": volume})
    assert np.mean(answer.array == expected.array) >= 0.9999  # type: ignore[union-attr]


def test_kernels_of_rtx_are_kept_and_taken_again(name: str, plan: NetworkPlan) -> None:
    if name != "tensorrt-rtx":
        pytest.skip("only TensorRT-RTX compiles while it runs")
    for _ in range(2):
        opened = backend(name).open_engine(plan)
        answer = opened(_image(1))
        opened.close()
        np.testing.assert_allclose(answer, _expected(plan, _image(1)), atol=1e-3)
    (entry,) = entries(plan.cache_folder, network=plan.key)
    assert (entry.folder / RUNTIME_CACHE).stat().st_size > 0
