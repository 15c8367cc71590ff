"""A bundle, opened and run: geometry, engines, the gate and its certificates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bundles import vouched
from network_bundles import THRESHOLD, oblique_volume, threshold_bundle, unet_bundle
from wetread.bundles import Bundle
from wetread.errors import BundleInvalid, EngineDisagrees, EngineUnavailable, WeightsMissing
from wetread.infer.engines.openvino_engine import OpenVinoEngine
from wetread.infer.gate.certificate import Certificate
from wetread.infer.model import open_model

ENGINES = ("torch", "openvino")


def _certificate(cache: Path) -> Path:
    (path,) = cache.glob("*/certificate.json")
    return path


@pytest.mark.parametrize("engine", ENGINES)
def test_label_lies_where_the_image_is_bright(engine: str, tmp_path: Path) -> None:
    model = open_model(threshold_bundle(tmp_path / "b"), engine=engine, cache_folder=tmp_path / "c")
    for seed, shape in ((1, (18, 40, 33)), (2, (21, 16, 50))):
        volume = oblique_volume(shape, seed=seed)
        label_map = model.run({"image": volume})
        np.testing.assert_array_equal(label_map.array, volume.array > THRESHOLD)
        np.testing.assert_array_equal(label_map.affine, volume.affine)
    assert model.identity.name == engine


def test_plain_monai_bundle_with_a_sliding_window_gives_the_same_answer_with_both_engines(tmp_path: Path) -> None:
    bundle = unet_bundle(tmp_path / "b")
    volume = oblique_volume()
    answers = []
    for engine in ENGINES:
        model = open_model(bundle, engine=engine, cache_folder=tmp_path / "c")
        answers.append(model.run({"image": volume}).array)
        model.close()
    assert answers[0].shape == volume.array.shape
    assert 0.02 < answers[0].mean() < 0.98
    assert np.mean(answers[0] == answers[1]) > 0.9999
    assert not (bundle.folder / "eval").exists()


def test_bundle_without_a_golden_case_is_gated_on_noise_and_says_so(tmp_path: Path) -> None:
    bundle = unet_bundle(tmp_path / "b")
    reference = open_model(bundle, engine="torch", cache_folder=tmp_path / "c")
    assert reference.identity.certificate == "reference"
    model = open_model(bundle, engine="openvino", cache_folder=tmp_path / "c")
    certificate = Certificate.model_validate_json(_certificate(tmp_path / "c").read_text())
    assert certificate.kind == "synthetic"
    assert certificate.measured.max_difference is not None
    assert certificate.digest() == model.identity.certificate


def test_certificate_is_kept_and_names_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = threshold_bundle(tmp_path / "b")
    first = open_model(bundle, engine="openvino", cache_folder=tmp_path / "c")
    path = _certificate(tmp_path / "c")
    content = json.loads(path.read_text())
    assert content["kind"] == "golden"
    assert content["subject"]["bundle"] == bundle.digest()
    assert content["subject"]["engine"] == "openvino"
    assert content["subject"]["library"] == first.identity.library_version
    assert set(content["golden"]) == {"in.nii.gz", "out.nii.gz"}
    assert content["measured"]["dice"] == {"1": 1.0}

    monkeypatch.setattr("wetread.infer.gate.gate.golden_images", _never)
    again = open_model(bundle, engine="openvino", cache_folder=tmp_path / "c")
    assert again.identity == first.identity


def _never(*_args: object) -> None:
    raise AssertionError("the golden case was run although the certificate holds")


@pytest.mark.parametrize("damage", ["truncated", "other subject", "other golden file", "failing figures"])
def test_certificate_that_does_not_hold_is_made_anew(tmp_path: Path, damage: str) -> None:
    bundle = threshold_bundle(tmp_path / "b")
    first = open_model(bundle, engine="torch", cache_folder=tmp_path / "c").identity
    path = _certificate(tmp_path / "c")
    _damage(path, damage)
    damaged = path.read_bytes()
    second = open_model(bundle, engine="torch", cache_folder=tmp_path / "c").identity
    assert path.read_bytes() != damaged
    assert Certificate.model_validate_json(path.read_text()).digest() == second.certificate
    assert second.certificate != first.certificate


def _damage(path: Path, damage: str) -> None:
    content = json.loads(path.read_text())
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:50])
        return
    if damage == "other subject":
        content["subject"]["library"] = "another version"
    if damage == "other golden file":
        content["golden"]["in.nii.gz"] = "0" * 64
    if damage == "failing figures":
        content["measured"]["dice"]["1"] = 0.1
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_that_disagrees_with_the_stored_answer_is_refused_with_figures(engine: str, tmp_path: Path) -> None:
    stored = oblique_volume((12, 20, 16), seed=1).array > THRESHOLD
    stored[3:6] = ~stored[3:6]
    bundle = threshold_bundle(tmp_path / "b", output=stored)
    with pytest.raises(EngineDisagrees, match=rf"engine {engine} .*0\.75\d* of the voxels agree.*label 1: Dice 0\.\d+"):
        open_model(bundle, engine=engine, cache_folder=tmp_path / "c")
    assert not list((tmp_path / "c").rglob("certificate.json"))


@pytest.fixture
def wrong_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    right = OpenVinoEngine.__call__
    monkeypatch.setattr(OpenVinoEngine, "__call__", lambda self, array: -right(self, array))


@pytest.mark.parametrize("make", [threshold_bundle, unet_bundle])
@pytest.mark.usefixtures("wrong_openvino")
def test_auto_falls_back_to_torch_and_says_why(make: object, tmp_path: Path) -> None:
    bundle: Bundle = make(tmp_path / "b")  # type: ignore[operator]
    model = open_model(bundle, engine="auto", cache_folder=tmp_path / "c")
    assert model.identity.name == "torch"
    assert "openvino may not serve" in model.choice_reason
    assert "of the voxels agree" in model.choice_reason
    with pytest.raises(EngineDisagrees):
        open_model(bundle, engine="openvino", cache_folder=tmp_path / "c")


def test_model_tells_its_progress(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    open_model(
        threshold_bundle(tmp_path / "b"),
        engine="torch",
        cache_folder=tmp_path / "c",
        progress=lambda what, share: told.append((what, share)),
    )
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert told[-1] == ("ready", 1.0)


def test_closed_model_cannot_be_used(tmp_path: Path) -> None:
    model = open_model(threshold_bundle(tmp_path / "b"), engine="torch", cache_folder=tmp_path / "c")
    model.close()
    with pytest.raises(RuntimeError, match="closed"):
        model.run({"image": oblique_volume()})


def test_changed_weights_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    bundle = threshold_bundle(tmp_path / "b")
    weights = bundle.folder / "models" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(WeightsMissing, match="SHA-256"):
        open_model(bundle, engine="torch", cache_folder=tmp_path / "c")


def test_missing_golden_file_is_named(tmp_path: Path) -> None:
    bundle = threshold_bundle(tmp_path / "b")
    (bundle.folder / "out.nii.gz").unlink()
    with pytest.raises(BundleInvalid, match=r"out\.nii\.gz is missing"):
        open_model(bundle, engine="torch", cache_folder=tmp_path / "c")


def test_config_that_cannot_be_made_is_bundle_invalid(tmp_path: Path) -> None:
    bundle = threshold_bundle(tmp_path / "b")
    config = json.loads(bundle.config_path.read_text())
    config["inferer"]["_target_"] = "NoSuchInferer"
    bundle.config_path.write_text(json.dumps(config))
    vouched(bundle)
    with pytest.raises(BundleInvalid, match="'inferer' cannot be made"):
        open_model(bundle, engine="torch", cache_folder=tmp_path / "c")


def test_unknown_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="tensorflow"):
        open_model(threshold_bundle(tmp_path / "b"), engine="tensorflow", cache_folder=tmp_path / "c")
