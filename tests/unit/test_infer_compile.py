"""``compile_bundle``: what is built for which device, and what is still to be proven."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

import fake_tensorrt
from network_bundles import threshold_bundle, unet_bundle
from wetread.bundles import Bundle, load_bundle
from wetread.errors import EngineDisagrees, EngineUnavailable, Misconfigured
from wetread.infer.compile import _figures, compile_bundle
from wetread.infer.engines.engine import backend
from wetread.infer.gate.compare import Agreement
from wetread.infer.graph.export import exported
from wetread.infer.graph.graph_check import GraphCheck
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
    assert (built.measured_on, built.measured["min_dice"], built.measured["max_volume_change"]) == ("golden", 1.0, 0.0)


def test_what_was_measured_says_what_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that was not run yet has the figures of its graph; without a golden case nothing is said about Dice."""
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx", sm="sm90")
    bundle = threshold_bundle(tmp_path / "b")
    (plain,) = compile_bundle(bundle, gpus=["sm86"], cache_folder=tmp_path / "cache")
    assert plain.measured_on == "graph"
    assert plain.measured.keys() == {"share_within", "same_label", "max_difference"}
    judged = GraphCheck.model_construct(task={"min_dice": 0.999})
    assert _figures(judged) == ("golden", {"min_dice": 0.999})
    without = threshold_bundle(tmp_path / "w", golden=False)
    (synthetic,) = compile_bundle(without, engine="openvino", cache_folder=tmp_path / "cache")
    assert synthetic.measured_on == "synthetic"
    assert synthetic.measured.keys() == {"agreement", "max_difference"}


def test_gpu_elsewhere_without_the_library_says_which_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineUnavailable, match=r"^the package tensorrt-rtx is not installed; .*\[tensorrt-rtx\]"):
        compile_bundle(threshold_bundle(tmp_path / "b"), gpus=["sm89"], cache_folder=tmp_path / "c")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"engine": "torch"}, "torch is the reference"),
        ({"engine": "openvino", "precision": "f16"}, "openvino computes in f32 or bf16, not in f16"),
        ({"engine": "openvino", "gpus": ["sm89"]}, "openvino runs on the CPU; --gpu is for tensorrt-rtx"),
        ({"engine": "torch", "gpus": ["sm89"]}, "torch is the reference"),
        ({"engine": "tensorrt", "gpus": ["sm89"]}, "builds only on the GPU it is to run on; tensorrt-rtx builds ahead"),
        ({"gpus": ["RTX 4090"]}, "'RTX 4090' is no compute capability; expected sm and a number"),
        ({"precision": "f16"}, "not in f16; f16 is for GPUs: --gpu sm89"),
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


def _half_is_wrong(plan: object, shape: object, precision: str = "f32") -> object:
    graph = exported(plan, shape, precision)  # type: ignore[arg-type]
    if precision == "f16":
        raise EngineDisagrees("the exported graph of network_def in f16 is not the network: 91 % of the labels agree")
    return graph


def test_precision_that_fails_falls_back_to_float32_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx", sm="sm86")
    monkeypatch.setattr("wetread.infer.engines.tensorrt_engine.exported", _half_is_wrong)
    (made,) = compile_bundle(
        unet_bundle(tmp_path / "b"), precision="f16", gpus=["sm89"], cache_folder=tmp_path / "cache"
    )
    assert made.precision == "f32"
    assert made.note.startswith("f16 was refused: the exported graph of network_def in f16 is not the network")


def _window_of_the_golden_case(folder: Path) -> Bundle:
    bundle = threshold_bundle(folder)
    config = json.loads(bundle.config_path.read_text())
    config["inferer"] = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.25}
    bundle.config_path.write_text(json.dumps(config))
    return load_bundle(folder)


def test_half_graph_is_judged_by_the_golden_case_and_its_figures_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx", sm="sm86")
    bundle = _window_of_the_golden_case(tmp_path / "b")
    (made,) = compile_bundle(bundle, precision="f16", gpus=["sm89"], cache_folder=tmp_path / "cache")
    assert made.precision == "f16"
    assert 0.999 <= made.measured["agreement"] <= 1
    assert made.measured["min_dice"] >= 0.999


def test_half_graph_that_changes_the_golden_answer_is_refused_however_near_its_values_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx", sm="sm86")
    monkeypatch.setattr("wetread.infer.plans.compare_outputs", lambda *_args: Agreement(agreement=0.99, dice={1: 0.9}))
    bundle = _window_of_the_golden_case(tmp_path / "b")
    (made,) = compile_bundle(bundle, precision="f16", gpus=["sm89"], cache_folder=tmp_path / "cache")
    assert made.precision == "f32"
    assert "golden case comes out otherwise: 0.990000 of the voxels agree" in made.note
    assert "label 1: Dice 0.90000" in made.note


def test_cache_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(Misconfigured, match=r"the engine cache .*cache cannot be written: "):
        compile_bundle(threshold_bundle(tmp_path / "b"), engine="openvino", cache_folder=tmp_path / "cache")
