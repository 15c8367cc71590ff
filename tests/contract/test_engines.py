"""What every engine keeps: the numbered contract in ``wetread.infer.engines.engine.Engine``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

import fake_tensorrt
from wetread.errors import EngineUnavailable
from wetread.infer.engines.engine import ENGINES, REFERENCE, Engine, FloatArray, backend, choose_engine
from wetread.infer.engines.plan import NetworkPlan
from wetread.infer.engines.wish import PRECISIONS
from wetread.infer.program import EngineNetwork


def _unet() -> nn.Module:
    torch.manual_seed(11)
    return UNet(spatial_dims=3, in_channels=2, out_channels=3, channels=(4, 8), strides=(2,)).eval()


def _plan(folder: Path) -> NetworkPlan:
    return NetworkPlan("network_def", key="unet-11", make=_unet, cache_folder=folder, threads=1)


def _image(*shape: int) -> FloatArray:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def _expected(image: FloatArray) -> FloatArray:
    with torch.inference_mode():
        return np.asarray(_unet()(torch.tensor(image)).numpy())


_CASES = {
    "torch": ("torch", "f32"),
    "openvino": ("openvino", "f32"),
    "openvino-bf16": ("openvino", "bf16"),
    "tensorrt-10": ("tensorrt", "f32"),
    "tensorrt-11": ("tensorrt", "f32"),
    "tensorrt-11-f16": ("tensorrt", "f16"),
    "tensorrt-rtx": ("tensorrt-rtx", "f32"),
    "tensorrt-rtx-f16": ("tensorrt-rtx", "f16"),
}
"""TensorRT runs here as a fake of its Python API; ``tests/gpu`` has the real ones."""
_ATOL = {"f32": 1e-4, "f16": 5e-3, "bf16": 5e-2}


@pytest.fixture(params=list(_CASES))
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    name, precision = _CASES[request.param]
    if name.startswith("tensorrt"):
        fake_tensorrt.install(monkeypatch, request.param.removesuffix("-f16"))
    opened = backend(name).open_engine(replace(_plan(tmp_path), precision=precision))
    if precision == "bf16":
        try:
            opened(_image(1, 2, 8, 8, 8))
        except EngineUnavailable as exc:  # a CPU without bfloat16
            pytest.skip(str(exc))
    yield opened
    opened.close()


def test_engine_gives_the_answer_of_the_network(engine: Engine) -> None:
    image = _image(1, 2, 16, 24, 8)
    answer = engine(image)
    assert answer.dtype == np.float32
    assert answer.flags.c_contiguous
    np.testing.assert_allclose(answer, _expected(image), atol=_ATOL[engine.precision])


def test_engine_takes_any_batch_size_and_rows_do_not_mix(engine: Engine) -> None:
    image = _image(3, 2, 16, 16, 16)
    together = engine(image)
    alone = np.concatenate([engine(image[k : k + 1]) for k in range(3)])
    assert together.shape == (3, 3, 16, 16, 16)
    np.testing.assert_allclose(together, alone, atol=1e-5 if engine.precision == "f32" else 1e-2)


def test_engine_takes_another_spatial_shape_than_before(engine: Engine) -> None:
    for shape in ((1, 2, 16, 16, 16), (1, 2, 8, 24, 16), (1, 2, 16, 16, 16)):
        image = _image(*shape)
        np.testing.assert_allclose(engine(image), _expected(image), atol=_ATOL[engine.precision])


def test_engine_takes_memory_that_is_neither_contiguous_nor_writable(engine: Engine) -> None:
    image = _image(1, 2, 16, 24, 8)
    strided = np.asfortranarray(image)[:, :, ::-1].copy(order="F")[:, :, ::-1]
    strided.flags.writeable = False
    assert not strided.flags.c_contiguous
    np.testing.assert_allclose(engine(strided), _expected(image), atol=_ATOL[engine.precision])


def test_engine_leaves_its_input_alone_and_gives_its_output_away(engine: Engine) -> None:
    image = _image(1, 2, 16, 16, 16)
    before = image.copy()
    first = engine(image)
    kept = first.copy()
    engine(_image(1, 2, 16, 16, 16) * 3)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(first, kept)
    first[...] = 0


def test_engine_answers_tensors_where_they_lie(engine: Engine) -> None:
    images = torch.from_numpy(_image(3, 2, 16, 16, 16)).to(engine.where)
    before = images.clone()
    first = engine.on_device(images)
    np.testing.assert_array_equal(first.cpu().numpy(), engine(images.cpu().numpy()))
    assert (first.device.type, first.dtype) == (engine.where.type, torch.float32)
    kept = first.clone()
    strided = images.transpose(2, 4).contiguous().transpose(2, 4)
    np.testing.assert_array_equal(engine.on_device(strided).cpu().numpy(), kept.cpu().numpy())
    engine.on_device(images * 3)
    assert torch.equal(images, before)
    assert torch.equal(first, kept)
    with pytest.raises(ValueError, match="float64"):
        engine.on_device(images.double())
    with pytest.raises(ValueError, match="meta"):
        engine.on_device(images.to("meta"))


def test_engine_that_gives_masks_gives_those_of_its_answer(tmp_path: Path) -> None:
    """All engines through ``EngineNetwork``, which does it for those that cannot: two channels become one byte."""
    torch.manual_seed(3)
    up = nn.ConvTranspose3d(4, 2, 2, stride=2)
    networks = {
        "upsampled": nn.Sequential(nn.Conv3d(1, 4, 3, stride=2, padding=1), nn.ReLU(), up, nn.Softmax(1)),
        "upsampled without bias": nn.Sequential(
            nn.Conv3d(1, 4, 7, stride=2, padding=3), nn.ConvTranspose3d(4, 2, 2, 2, bias=False)
        ),
        "upsampled by another kernel": nn.Sequential(
            nn.Conv3d(1, 4, 3, 2, 1), nn.ConvTranspose3d(4, 2, 3, 2, 1, 1), nn.Softmax(1)
        ),
        "plain": nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.Softmax(dim=1)),
        "flat": nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ConvTranspose2d(4, 2, 2, stride=2), nn.Softmax(1)
        ),
    }
    for name, network in networks.items():
        plan = NetworkPlan(name, key=name, make=lambda made=network: made.eval(), cache_folder=tmp_path, threads=2)
        images = torch.from_numpy(_image(3, 1, *([16, 24, 8][: 2 if name == "flat" else 3])))
        for engine in ("torch", "openvino"):
            opened = backend(engine).open_engine(plan)
            answer = opened.on_device(images)
            for _ in range(2):
                masks = EngineNetwork(opened).masks(images)
                assert masks.dtype == torch.uint8, name
                assert torch.equal(masks, (answer[:, 1:] > answer[:, :1]).to(torch.uint8)), (name, engine)
            assert 0.05 < float(masks.float().mean()) < 0.95
            opened.close()


def test_network_of_three_channels_has_no_mask(tmp_path: Path) -> None:
    opened = backend("openvino").open_engine(_plan(tmp_path))
    with pytest.raises(EngineUnavailable, match="two channels"):
        EngineNetwork(opened).masks(torch.from_numpy(_image(1, 2, 16, 16, 16)))
    opened.close()


def test_engine_that_rested_answers_as_before(engine: Engine) -> None:
    image = _image(2, 2, 16, 16, 16)
    before = engine(image)
    EngineNetwork(engine).rest()
    np.testing.assert_array_equal(engine(image), before)


def test_engine_refuses_what_the_contract_does_not_allow(engine: Engine) -> None:
    with pytest.raises(ValueError, match="float64"):
        engine(np.zeros((1, 2, 16, 16, 16)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(16, 16\)"):
        engine(np.zeros((16, 16), np.float32))


def test_engine_may_be_closed_twice_and_not_be_used_after(engine: Engine) -> None:
    engine(_image(1, 2, 16, 16, 16))
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine(_image(1, 2, 16, 16, 16))


def test_engine_says_what_it_is(engine: Engine) -> None:
    assert engine.name in ENGINES
    assert engine.precision in PRECISIONS[engine.name]
    assert engine.library_version == backend(engine.name).library_version()
    assert engine.device == backend(engine.name).device()


@pytest.mark.parametrize("name", [name for name in ENGINES if name != REFERENCE])
def test_missing_library_is_engine_unavailable(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name.replace("-", "_"), None)
    with pytest.raises(EngineUnavailable, match=f"{name} is not installed"):
        backend(name).open_engine(_plan(tmp_path))
    with pytest.raises(EngineUnavailable, match=f"{name} is not installed"):
        choose_engine(name, precision="f32")


class _Unsupported(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


@pytest.mark.parametrize("case", ["openvino", "tensorrt-10", "tensorrt-11", "tensorrt-rtx"])
def test_network_the_library_cannot_run_is_engine_unavailable(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case != "openvino":
        fake_tensorrt.install(monkeypatch, case)
    plan = NetworkPlan("strange", key="bessel", make=_Unsupported, cache_folder=tmp_path)
    with pytest.raises(EngineUnavailable, match="strange"):
        backend(_CASES[case][0]).open_engine(plan)(_image(1, 2, 8, 8, 8))
    assert not list(tmp_path.rglob("*.onnx"))


def test_auto_takes_openvino_and_says_why() -> None:
    choice = choose_engine("auto", precision="f32")
    assert choice.name == "openvino"
    assert backend("openvino").library_version().partition("-")[0] in choice.reason


def test_auto_takes_torch_without_openvino_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    choice = choose_engine("auto", precision="f32")
    assert choice.name == "torch"
    assert "openvino is not installed" in choice.reason


def test_unknown_engine_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(EngineUnavailable, match="'tensorflow'; there are: auto, torch, openvino"):
        choose_engine("tensorflow", precision="f32")


def test_damaged_export_is_made_anew(tmp_path: Path) -> None:
    image = _image(1, 2, 16, 16, 16)
    first = backend("openvino").open_engine(_plan(tmp_path))
    expected = first(image)
    first.close()
    (file,) = tmp_path.rglob("*.onnx")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again = backend("openvino").open_engine(_plan(tmp_path))
    np.testing.assert_array_equal(again(image), expected)
    assert file.read_bytes() == whole
