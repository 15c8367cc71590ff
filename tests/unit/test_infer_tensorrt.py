"""TensorRT: what is built, what is kept, what is believed. The library is a fake; the last tests take the real RTX."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import SegResNet, UNet
from torch import nn

import fake_tensorrt
from wetread.errors import EngineDisagrees, EngineUnavailable
from wetread.infer.engines import tensorrt_memory
from wetread.infer.engines.cache import adopt, entries
from wetread.infer.engines.engine import backend
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.tensorrt_build import batches
from wetread.infer.engines.tensorrt_engine import TENSORRT, TENSORRT_RTX, TensorRtEngine
from wetread.infer.engines.tensorrt_memory import Gpu

SHAPE = (1, 2, 16, 16, 16)


def _unet() -> nn.Module:
    torch.manual_seed(11)
    return UNet(spatial_dims=3, in_channels=2, out_channels=3, channels=(4, 8), strides=(2,)).eval()


@pytest.fixture
def plan(tmp_path: Path) -> NetworkPlan:
    return NetworkPlan("network_def", key="unet-11", make=_unet, cache_folder=tmp_path / "cache")


def _image(batch: int = 1) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(batch, *SHAPE[1:])).astype(np.float32)


def _opened(name: str, plan: NetworkPlan) -> TensorRtEngine:
    engine = backend(name).open_engine(plan)
    assert isinstance(engine, TensorRtEngine)
    return engine


@pytest.mark.parametrize("variant", list(fake_tensorrt.VARIANTS))
@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_engine_is_strongly_typed_without_precision_flags_or_tf32(
    variant: str, precision: str, plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, variant)
    engine = _opened("tensorrt-rtx" if "rtx" in variant else "tensorrt", replace(plan, precision=precision))
    engine(_image())
    (entry,) = entries(plan.cache_folder, network=plan.key)
    header = fake_tensorrt.header_of(entry.path.read_bytes())
    assert header["typed"] is True
    assert header["flags"] == []
    assert header["profile"] == [[1, *SHAPE[1:]], [4, *SHAPE[1:]], [8, *SHAPE[1:]]]
    assert entry.record.what["tf32"] == "off"
    assert entry.record.graph.precision == precision


def test_more_images_than_the_largest_batch_are_asked_in_parts(
    plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-11")
    images = _image(19)
    with torch.inference_mode():
        expected = _unet()(torch.tensor(images)).numpy()
    np.testing.assert_allclose(_opened("tensorrt", plan)(images), expected, atol=1e-4)


def test_large_images_go_one_by_one() -> None:
    assert batches((1, 1, 256, 256, 256)) == (1, 1, 1)
    assert batches((1, 1, 96, 96, 96)) == (1, 4, 8)
    assert batches((1, 4, 96, 96, 96)) == (1, 2, 2)


def test_second_batch_of_one_size_is_a_cuda_graph_and_another_size_is_not_it(
    plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-11")
    memory = fake_tensorrt.HostMemory()
    monkeypatch.setattr(tensorrt_memory, "open_memory", lambda: memory)
    engine = _opened("tensorrt", plan)
    images = _image(4)
    alone = np.concatenate([engine(images[k : k + 1]) for k in range(4)])
    assert memory.graphs == 1
    np.testing.assert_allclose(engine(images[:3]), alone[:3], atol=1e-5)
    np.testing.assert_allclose(engine(images[:1]), alone[:1], atol=1e-5)
    np.testing.assert_allclose(engine(images[:3]), alone[:3], atol=1e-5)
    assert memory.graphs == 1
    np.testing.assert_allclose(engine(images[1:4]), alone[1:4], atol=1e-5)
    assert memory.graphs == 2
    np.testing.assert_allclose(engine(images[3:]), alone[3:], atol=1e-5)


def test_network_that_cannot_be_captured_still_answers(plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-11")

    class NoGraphs(fake_tensorrt.HostMemory):
        def captured(self, enqueue: object) -> object:
            raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(tensorrt_memory, "open_memory", NoGraphs)
    engine = _opened("tensorrt", plan)
    first = engine(_image())
    np.testing.assert_array_equal(engine(_image()), first)


def test_images_on_the_device_are_answered_there(plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-11")
    engine = _opened("tensorrt", plan)
    images = _image(11)
    np.testing.assert_allclose(engine.on_device(torch.tensor(images)).numpy(), engine(images), atol=1e-5)


def test_engine_from_the_cache_is_not_built_again(plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx")
    first = _opened("tensorrt-rtx", plan)(_image())
    second = _opened("tensorrt-rtx", replace(plan, make=_must_not_be_made))
    np.testing.assert_array_equal(second(_image()), first)


def _must_not_be_made() -> nn.Module:
    raise AssertionError("the network was built although a proven engine is in the cache")


@pytest.mark.parametrize("damage", ["engine", "other engine", "record", "foreign"])
def test_damaged_or_foreign_entry_is_built_anew(
    damage: str, plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-11")
    expected = _opened("tensorrt", plan)(_image())
    (entry,) = entries(plan.cache_folder, network=plan.key)
    whole = entry.path.read_bytes()
    record = entry.folder / "build.json"
    if damage == "engine":
        entry.path.write_bytes(whole[:-1] + b"x")
    elif damage == "other engine":
        entry.path.write_bytes(whole.replace(b'"flags": []', b'"flags": ["TF32"]'))
    elif damage == "record":
        record.write_text(record.read_text()[:-40])
    else:
        document = json.loads(record.read_text())
        document["what"]["network"] = "another"
        record.write_text(json.dumps(document))
    np.testing.assert_array_equal(_opened("tensorrt", plan)(_image()), expected)
    assert entry.path.read_bytes() == whole
    assert json.loads(record.read_text())["what"]["network"] == plan.key


def test_engine_with_another_answer_does_not_serve(plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """A miscompiled engine: right bytes, wrong numbers. From the cache it is built anew, a fresh one is refused."""
    fake_tensorrt.install(monkeypatch, "tensorrt-11")
    good = fake_tensorrt._Context._answer
    monkeypatch.setattr(fake_tensorrt._Context, "_answer", lambda self, image: good(self, image) * 1.05)
    with pytest.raises(EngineDisagrees, match="wrong on Fake GPU"):
        _opened("tensorrt", plan)(_image())
    (entry,) = entries(plan.cache_folder, network=plan.key)
    assert entry.on_device() is None


def test_engine_built_elsewhere_is_adopted_and_serves_after_its_on_device_part(
    plan: NetworkPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx", sm="sm89")
    built = TENSORRT_RTX.build(plan, SHAPE, gpu=Gpu("", "sm89"))
    assert built.on_device() is None
    there = replace(plan, cache_folder=tmp_path / "box", make=_must_not_be_made)
    adopted = adopt(built.folder, there.cache_folder)
    assert adopted is not None
    _opened("tensorrt-rtx", there)(_image())
    noted = adopted.on_device()
    assert noted is not None
    assert noted.device == "Fake GPU (sm89)"


def test_engine_for_another_gpu_is_not_taken(plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx", sm="sm89")
    TENSORRT_RTX.build(plan, SHAPE, gpu=Gpu("", "sm120"))
    _opened("tensorrt-rtx", plan)(_image())
    assert {e.record.what["gpu"]: e.on_device() is not None for e in entries(plan.cache_folder, network=plan.key)} == {
        "sm89": True,
        "sm120": False,
    }


def test_damaged_engine_is_not_adopted(plan: NetworkPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx")
    built = TENSORRT_RTX.build(plan, SHAPE, gpu=Gpu("", "sm89"))
    built.path.write_bytes(b"something else")
    assert adopt(built.folder, tmp_path / "box") is None
    assert not (tmp_path / "box").exists()


def test_tensorrt_does_not_build_ahead_of_time(plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-11")
    with pytest.raises(EngineUnavailable, match="builds only on the GPU it is to run on"):
        TENSORRT.build(plan, SHAPE, gpu=Gpu("", "sm89"))


def test_old_tensorrt_is_refused(plan: NetworkPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    module = fake_tensorrt.install(monkeypatch, "tensorrt-10")
    monkeypatch.setattr(module, "__version__", "8.6.1")
    with pytest.raises(EngineUnavailable, match=r"8\.6\.1 is too old; 10"):
        backend("tensorrt").open_engine(plan)


def test_operator_the_parser_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sums(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cumsum(x, dim=2)

    fake_tensorrt.install(monkeypatch, "tensorrt-11")
    plan = NetworkPlan("sums", key="sums", make=Sums, cache_folder=tmp_path)
    with pytest.raises(EngineUnavailable, match="no importer for CumSum"):
        _opened("tensorrt", plan)(_image())


rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="the package tensorrt-rtx is not installed: no engine was built ahead of time",
)


@rtx
@pytest.mark.parametrize("sm", ["sm86", "sm89", "sm120"])
@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_real_rtx_builds_for_a_gpu_that_is_not_there(sm: str, precision: str, plan: NetworkPlan) -> None:
    entry = TENSORRT_RTX.build(replace(plan, precision=precision), SHAPE, gpu=Gpu("", sm))
    assert entry.engine_bytes() == entry.path.read_bytes()
    assert entry.record.size_bytes > 10_000
    assert entry.record.graph.share_within == 1.0
    assert entry.on_device() is None


@rtx
def test_real_rtx_names_the_capabilities_it_builds_for(plan: NetworkPlan) -> None:
    with pytest.raises(EngineUnavailable, match=r"'sm90'; it does for sm75, .*sm89, sm120"):
        TENSORRT_RTX.build(plan, SHAPE, gpu=Gpu("", "sm90"))


@rtx
def test_real_rtx_says_what_it_cannot_read(tmp_path: Path) -> None:
    class Determinant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.det(x)

    plan = NetworkPlan("determinant", key="determinant", make=Determinant, cache_folder=tmp_path)
    with pytest.raises(EngineUnavailable, match=r"cannot read .* Det"):
        TENSORRT_RTX.build(plan, SHAPE, gpu=Gpu("", "sm89"))


@rtx
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_opening_says_what_was_compiled_ahead_of_time(plan: NetworkPlan) -> None:
    with pytest.raises(EngineUnavailable, match=r"NVIDIA GPU is needed.*nothing is compiled ahead of time"):
        backend("tensorrt-rtx").open_engine(plan)
    TENSORRT_RTX.build(plan, SHAPE, gpu=Gpu("", "sm89"))
    with pytest.raises(EngineUnavailable, match=r"compiled ahead of time for sm89 f32 \(\d\.\d MB\)"):
        backend("tensorrt-rtx").open_engine(plan)


@rtx
def test_real_rtx_takes_group_norm_and_resize_in_half(tmp_path: Path) -> None:
    def segresnet() -> nn.Module:
        torch.manual_seed(2)
        return SegResNet(init_filters=8, in_channels=2, out_channels=2, blocks_down=(1, 1), blocks_up=(1,)).eval()

    plan = NetworkPlan("network_def", key="segresnet", make=segresnet, cache_folder=tmp_path, precision="f16")
    entry = TENSORRT_RTX.build(plan, SHAPE, gpu=Gpu("", "sm89"))
    assert entry.record.graph.same_label >= 0.999
