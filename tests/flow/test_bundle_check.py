"""``wetread bundle check``: what stands in the way, in sentences, and a template for what is missing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

import hostile_bundles as hostile
from bundle_commands import Command, bundle_command
from threshold_bundle import write_threshold_bundle
from wetread.bundles.manifest import InputRule, Manifest
from wetread.bundles.template import template
from zoo_catalogue import LOOKALIKES
from zoo_lookalikes import write


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return bundle_command(tmp_path, monkeypatch, capsys)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_threshold_bundle(tmp_path / "source" / "threshold")


def test_check_says_what_stands_in_the_way(tmp_path: Path, source: Path, command: Command) -> None:
    report = command("check", source)
    assert (report["state"], report["reason"]) == ("certified", "openvino f32 on CPU")
    assert (report["loads"], report["tier"], report["missing"]) == (True, "components", [])
    assert report["certified_on"] == "synthetic"
    assert report["measured"]["agreement"] == 1.0
    assert report["measured"]["max_difference"] < 1e-3
    assert report["needs_trusted_code"] == []
    assert len(report["certificate"]) == 64
    canary = tmp_path / "canary"
    bad = hostile.config_with(tmp_path / "bad", here=f"$open('{canary}', 'w')")
    report = command("check", bad, code=1)
    assert report["needs_trusted_code"] == [f"configs/inference.json, here: $open('{canary}', 'w') (uses open)"]
    assert "Nothing of it was run" in report["problems"][0]
    assert not canary.exists()


def test_check_writes_a_template_for_a_bundle_of_the_zoo(source: Path, command: Command) -> None:
    (source / "configs" / "wetread.json").unlink()
    report = command("check", source, code=1)
    assert "configs/wetread.json is missing" in report["missing"][0]
    assert Path(report["template"]).read_text().startswith("{")


def test_template_of_a_classifier_asks_for_scores(source: Path, command: Command) -> None:
    (source / "configs" / "wetread.json").unlink()
    path = source / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["network_data_format"]["outputs"]["pred"] |= {"type": "probabilities", "format": "classes"}
    path.write_text(json.dumps(metadata))
    lines = Path(command("check", source, code=1)["template"]).read_text().splitlines()
    template = json.loads("\n".join(line for line in lines if not line.lstrip().startswith("//")))
    assert "labels" not in template
    assert [(score["index"], score["name"]) for score in template["scores"]] == [(0, "background"), (1, "bright")]
    code = {"value": "56265001", "scheme": "SCT", "meaning": "Heart disease"}
    filled = template | {"procedure": code, "scores": [score | {"condition": code} for score in template["scores"]]}
    assert Manifest.model_validate(filled).scores[1].condition.value == "56265001"


@pytest.mark.parametrize(
    ("modality", "shape", "kind", "fewest"),
    [
        ("CT", [96, 96, 96], "volume", 10),
        ("MRI", [256, 256], "volume", 2),
        ("CXR", [224, 224], "radiograph", 1),
        ("CR", ["*", "*"], "radiograph", 1),
        ("Mammogram", [1, 299, 299], "radiograph", 1),
        ("US", [256, 256], "radiograph", 1),
        ("CT", "unknown", "volume", 10),
    ],
)
def test_template_asks_for_slices_only_of_what_has_slices(
    modality: str, shape: object, kind: str, fewest: int, source: Path
) -> None:
    path = source / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["network_data_format"]["inputs"]["image"] |= {"modality": modality, "spatial_shape": shape}
    path.write_text(json.dumps(metadata))
    lines = template(source).splitlines()
    (rule,) = json.loads("\n".join(line for line in lines if not line.lstrip().startswith("//")))["inputs"]
    assert (rule["kind"], rule["min_instances"]) == (kind, fewest)
    InputRule.model_validate(rule)


def test_expression_that_does_not_compile_is_a_sentence(source: Path, command: Command) -> None:
    path = source / "configs" / "wetread.json"
    manifest = json.loads(path.read_text())
    manifest["inputs"][0]["description_any"] = ["t1("]
    path.write_text(json.dumps(manifest))
    reason = command("check", source, code=1)["reason"]
    assert "inputs.0.description_any.0.pattern" in reason
    assert "'t1(' is no regular expression: missing )" in reason


def test_bundle_that_no_volume_gets_through_is_not_ready(source: Path, command: Command) -> None:
    report = command("check", source)
    assert (report["state"], report["trial"]) == ("certified", "a phantom volume was read")
    path = source / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["preprocessing"]["transforms"].append({"_target_": "Resized", "keys": "image", "spatial_size": [64, 64]})
    path.write_text(json.dumps(config))
    report = command("check", source, code=1)
    assert (report["state"], report["loads"], report["trial"]) == ("not usable", True, "failed")
    assert "a phantom volume cannot be read: preprocessing of this bundle fails" in report["problems"][0]
    assert "transform Resized: " in report["problems"][0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("roi_size", "abc"),
        ("roi_size", [16.5, 16, 16]),
        ("roi_size", [16, 16, 16, 16]),
        ("roi_size", []),
        ("sw_batch_size", "x"),
        ("sw_batch_size", 0),
        ("overlap", 2),
        ("overlap", [0.5, 0.5]),
        ("padding_mode", "foo"),
        ("cval", "x"),
    ],
)
def test_window_that_is_none_is_named_with_file_and_key(
    key: str, value: object, source: Path, command: Command
) -> None:
    path = source / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["inferer"][key] = value
    path.write_text(json.dumps(config))
    report = command("check", source, code=1)
    (problem,) = report["problems"]
    assert problem.startswith(f"{path}: inferer::{key} is {value!r}, expected ")
    assert (report["state"], report["reason"]) == ("not usable", problem)
    assert command("compile", source, code=2)["reason"] == problem


@pytest.mark.parametrize("roi_size", [None, 16, [-1, -1, -1], [16, -1, None]])
def test_window_without_a_side_is_the_whole_image(roi_size: object, source: Path, command: Command) -> None:
    path = source / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["inferer"]["roi_size"] = roi_size
    path.write_text(json.dumps(config))
    assert command("check", source)["trial"] == "a phantom volume was read"


def test_answer_that_no_patient_could_get_taken_is_not_usable(tmp_path: Path, command: Command) -> None:
    """Neither the form of an answer nor a value that is no number depends on the image."""
    source = write_threshold_bundle(tmp_path / "low" / "threshold", threshold=30.0)  # marks the phantom's ball
    config, manifest = (source / "configs" / name for name in ("inference.json", "wetread.json"))
    for path, break_it, message in (
        (config, _without_inversion, "the bundle's answer has the shape"),
        (manifest, _declare_another_value, "the bundle's answer holds 1; declared are [0, 2]"),
        (manifest, _weights_that_are_no_numbers, "holds values that are not finite"),
    ):
        before = path.read_text()
        content = json.loads(before)
        break_it(source, content)
        path.write_text(json.dumps(content))
        report = command("check", source, code=1)
        path.write_text(before)
        assert (report["state"], report["code"], report["trial"]) == ("not usable", "output-invalid", "failed")
        assert report["reason"].startswith("no answer of this bundle would be taken: the ")
        assert message in report["reason"], report["reason"]
        assert report["problems"] == [report["reason"]]


def _without_inversion(_: Path, config: dict[str, Any]) -> None:
    config["preprocessing"]["transforms"].append(
        {"_target_": "Zoomd", "keys": "image", "zoom": 0.5, "keep_size": False}
    )
    config["postprocessing"]["transforms"].pop()


def _declare_another_value(_: Path, manifest: dict[str, Any]) -> None:
    manifest["labels"][0]["bundle_value"] = 2


def _weights_that_are_no_numbers(folder: Path, manifest: dict[str, Any]) -> None:
    weights = manifest["weights"][0]
    path = folder / weights["path"]
    path.write_bytes(save({name: torch.full_like(held, torch.nan) for name, held in load_file(path).items()}))
    weights["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()


def test_answer_that_only_a_phantom_gets_is_a_note(tmp_path: Path, command: Command) -> None:
    """A phantom of air and one ball is no patient: a structure from border to border says nothing of the bundle."""
    report = command("check", write_threshold_bundle(tmp_path / "everywhere", threshold=-5000.0))
    assert report["state"] == "certified"
    assert report["trial"].startswith("the answer about a phantom would be refused: ")
    assert report["trial"].endswith("the model did not see what it was made for")
    assert report["problems"] == []


def test_name_that_monai_does_not_have_is_told_with_the_nearest(tmp_path: Path, command: Command) -> None:
    folder = hostile.config_with(tmp_path / "typo", here={"_target_": "SlidingWindowInfererX"})
    report = command("check", folder, "--files-only", code=1)
    (problem,) = report["problems"]
    assert problem.endswith("(MONAI has no SlidingWindowInfererX; did you mean SlidingWindowInferer?)")
    assert (report["state"], report["code"], report["reason"]) == ("not usable", "bundle-invalid", problem)
    assert report["needs_trusted_code"] == [], "nobody can vouch for what is not there"
    for asked in ("UNett", "monai.networks.nets.UNett"):
        wrong = hostile.config_with(tmp_path / f"b{len(asked)}", network_def={"_target_": asked})
        for _ in range(2):  # with and without a manifest
            (problem,) = command("check", wrong, code=1)["problems"]
            assert problem.endswith(
                f"configs/inference.json, network_def: {asked} (MONAI has no {asked}; did you mean UNet?)"
            )
            (wrong / "configs" / "wetread.json").unlink(missing_ok=True)
    builtin = hostile.config_with(tmp_path / "builtin", here={"_target_": "eval"})
    assert command("check", builtin, "--files-only", code=1)["needs_trusted_code"][0].endswith("(calls eval)")


def test_transform_that_monai_removed_needs_nobody_to_vouch(source: Path, command: Command) -> None:
    path = source / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["preprocessing"]["transforms"][1] = {"_target_": "AddChanneld", "keys": "image"}
    path.write_text(json.dumps(config))
    report = command("check", source)
    assert (report["needs_trusted_code"], report["state"]) == ([], "certified")


@pytest.mark.parametrize("wrong", [[1, 2], "text", 7])
def test_config_that_is_no_mapping_is_found_by_the_files_alone(wrong: object, source: Path, command: Command) -> None:
    path = source / "configs" / "inference.json"
    path.write_text(json.dumps(wrong))
    (problem,) = command("check", source, "--files-only", code=1)["problems"]
    assert problem == f"{path} must hold one mapping, it holds a {type(wrong).__name__}"


def test_one_expression_is_one_line_with_every_reason(tmp_path: Path, command: Command) -> None:
    folder = hostile.config_with(tmp_path / "bad", here="$__import__('os').system('true')")
    report = command("check", folder, code=1)
    (needed,) = report["needs_trusted_code"]
    assert "system" in needed.rpartition("(")[2]
    assert "__import__" in needed.rpartition("(")[2]
    assert report["problems"][0].count("$__import__") == 1
    assert f"wetread bundle install {folder} --trust-local" in report["problems"][0]


def test_codes_that_were_left_empty_are_named_as_such(source: Path, command: Command) -> None:
    path = source / "configs" / "wetread.json"
    manifest = json.loads(path.read_text())
    manifest["procedure"]["value"] = ""
    path.write_text(json.dumps(manifest))
    assert "procedure.value: is empty, fill it in" in command("check", source, code=1)["reason"]


def test_keys_that_are_missing_or_unknown_are_named_as_such(source: Path, command: Command) -> None:
    path = source / "configs" / "wetread.json"
    manifest = json.loads(path.read_text())
    manifest["clinical_usage"] = manifest.pop("clinical_use")
    path.write_text(json.dumps(manifest))
    reason = command("check", source, code=1)["reason"]
    assert "clinical_use: is missing" in reason
    assert "clinical_usage: Wetread knows no such key here" in reason


def test_missing_inference_config_is_not_blamed_on_a_key_that_nobody_wrote(source: Path, command: Command) -> None:
    for path in (source / "configs").glob("inference.*"):
        path.unlink()
    reason = command("check", source, code=1)["reason"]
    assert reason.endswith("configs/inference.json is missing, and so are inference.yaml and inference.yml")


def test_weights_without_a_publisher_are_not_said_to_be_fetched(source: Path, command: Command) -> None:
    (source / "models" / "model.safetensors").unlink()
    reason = command("check", source, code=1)["reason"]
    assert reason.endswith("models/model.safetensors is not installed; put the right file there")


def test_list_does_not_call_a_bundle_ready_whose_files_changed(source: Path, command: Command) -> None:
    command("install", source, "--trust-local", "--into", "monai_bundles")
    path = Path("monai_bundles/threshold/configs/inference.json")
    path.chmod(0o644)
    path.write_text(path.read_text() + "\n")
    (listed,) = [b for b in command("list") if b["name"] == "threshold"]
    assert listed["state"] == "not usable"
    assert "have changed since it was installed" in listed["reason"]


def test_bundle_of_the_zoo_with_code_of_its_own_is_not_tried(tmp_path: Path, source: Path, command: Command) -> None:
    canary = tmp_path / "canary"
    folder = hostile.config_with(tmp_path / "zoo", network_def={"_target_": "scripts.net.Net"})
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").write_text(f"open({str(canary)!r}, 'w')")
    (folder / "configs" / "wetread.json").unlink()
    report = command("check", folder, code=1)
    assert "cannot be tried because it needs trusted code" in report["problems"][0]
    assert '"name": "bright"' in Path(report["template"]).read_text()
    assert not canary.exists()
    assert source.exists()


def test_bundle_for_colour_images_is_refused_before_anybody_fills_in_a_template(
    tmp_path: Path, command: Command
) -> None:
    folder = write(tmp_path / "downloaded" / "colour_video", LOOKALIKES["colour_video"](), own=False).folder
    checked = command("check", folder, code=1)
    assert checked["problems"] == [
        "not supported: its input 'image' is a colour image (R, G, B), Wetread reads grey-scale DICOM images"
    ]
    assert "template" not in checked
    refused = command("install", folder, "--trust-local", code=2)
    assert "bundle colour_video: not supported: its input 'image' is a colour image" in refused["reason"]


def test_download_of_the_zoo_is_told_the_next_command(tmp_path: Path, command: Command) -> None:
    folder = write(tmp_path / "downloaded" / "own_network", LOOKALIKES["own_network"](), own=False).folder
    refused = command("install", folder, "--trust-local", code=2)
    assert f"first run wetread bundle check {folder}, which writes a template" in refused["reason"]
    (problem,) = command("check", folder, code=1)["problems"]
    assert problem.endswith(f"wetread bundle install {folder} --trust-local")
