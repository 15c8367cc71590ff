"""``compile_bundle``: what is built for which device, and what is still to be proven."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import fake_tensorrt
from network_bundles import threshold_bundle, unet_bundle
from wetread.errors import EngineUnavailable
from wetread.infer.compile import compile_bundle
from wetread.infer.engines.engine import backend
from wetread.infer.model import open_model


def test_ahead_of_time_engines_pass_the_build_part_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx", sm="sm90")
    bundle = unet_bundle(tmp_path / "b")
    told: list[tuple[str, float]] = []
    built = compile_bundle(
        bundle,
        precision="f16",
        gpus=["sm86", "sm120"],
        cache_folder=tmp_path / "cache",
        progress=lambda what, share: told.append((what, share)),
    )
    assert [(b.engine, b.precision, b.gpu) for b in built] == [
        ("tensorrt-rtx", "f16", "sm86"),
        ("tensorrt-rtx", "f16", "sm120"),
    ]
    assert {(b.build_part, b.on_device_part) for b in built} == {("passed", "not run")}
    assert all(b.path.stat().st_size == b.size_bytes for b in built)
    assert [share for _, share in told] == [0.0, 0.5, 1.0]
    header = fake_tensorrt.header_of(built[0].path.read_bytes())
    assert header["profile"][0] == [1, 1, 32, 32, 32], "the window of the bundle's inferer"


def test_engine_for_this_machines_gpu_is_proven_and_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-11")
    bundle = threshold_bundle(tmp_path / "b")
    (built,) = compile_bundle(bundle, engine="tensorrt", precision="f16", cache_folder=tmp_path / "cache")
    assert (built.gpu, built.on_device_part) == ("Fake GPU (sm89)", "passed")
    model = open_model(bundle, engine="tensorrt", cache_folder=tmp_path / "cache")
    assert (model.identity.name, model.identity.device) == ("tensorrt", "Fake GPU (sm89)")


def test_openvino_is_proven_where_it_is_compiled(tmp_path: Path) -> None:
    (built,) = compile_bundle(threshold_bundle(tmp_path / "b"), engine="openvino", cache_folder=tmp_path / "cache")
    assert (built.engine, built.precision, built.gpu, built.on_device_part) == ("openvino", "f32", "CPU", "passed")
    assert list((tmp_path / "cache").glob("*/certificate.json"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"engine": "torch"}, "torch is the reference"),
        ({"engine": "openvino", "precision": "f16"}, "openvino computes in f32 or bf16, not in f16"),
        ({"engine": "openvino", "gpus": ["sm89"]}, "openvino runs on the CPU"),
    ],
)
def test_what_cannot_be_compiled_is_refused(options: dict[str, object], reason: str, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=reason):
        compile_bundle(threshold_bundle(tmp_path / "b"), cache_folder=tmp_path / "cache", **options)  # type: ignore[arg-type]


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_real_rtx_compiles_a_bundle_and_without_a_gpu_says_that_it_cannot_run(tmp_path: Path) -> None:
    bundle = unet_bundle(tmp_path / "b")
    (built,) = compile_bundle(bundle, gpus=["sm89"], cache_folder=tmp_path / "cache")
    assert built.size_bytes == built.path.stat().st_size > 10_000
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: tests/gpu says what happens then")
    with pytest.raises(EngineUnavailable, match=r"NVIDIA GPU.*compiled ahead of time for sm89 f32"):
        open_model(bundle, engine="tensorrt-rtx", cache_folder=tmp_path / "cache")
    with pytest.raises(EngineUnavailable, match="--gpu sm89"):
        compile_bundle(bundle, engine="tensorrt-rtx", cache_folder=tmp_path / "cache")
    assert backend("tensorrt-rtx").library_version() in bundle_versions(built.path.parent)


def bundle_versions(folder: Path) -> str:
    return (folder / "build.json").read_text(encoding="utf-8")
