"""Each shim does what it says, says what it did, and leaves alone what needs no help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet, resnet_fpn_feature_extractor
from monai.bundle import ConfigParser
from monai.networks.nets.resnet import resnet10

from wetread.bundles.static_check_names import FORMER_TRANSFORMS
from wetread.infer.configs import shims
from wetread.infer.configs.tree import Config
from wetread.infer.networks.detection_backbone import stand_in_for_torchvision

HERE = Path("/bundles/this")


def _applied(config: Config, folder: Path = HERE) -> dict[str, str]:
    return {done.name: done.what for done in shims.apply_shims(config, folder)}


def test_config_of_today_needs_nothing() -> None:
    config: Config = {
        "imports": ["$import os"],
        "bundle_root": ".",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {"_target_": "UNETR", "in_channels": 1, "out_channels": 2, "img_size": [32, 32, 32]},
        "size": "$int(np.prod([2, 3]))",
        "initialize": ["$monai.utils.set_determinism(seed=1)"],
        "run": ["$@evaluator.run()"],
    }
    assert _applied(config) == {}
    assert config["network_def"]["img_size"] == [32, 32, 32], "UNETR still takes it"
    assert config["bundle_root"] == str(HERE)
    assert config["device"] == "$torch.device('cpu')"


@pytest.mark.parametrize("key", ["evaluating", "inferring", "inference", "eval"])
def test_run_has_had_many_names(key: str) -> None:
    config: Config = {key: ["$@evaluator.run()"]}
    assert _applied(config)["run_key"] == f"the key '{key}' is read as 'run'"
    assert config["run"] == ["$@evaluator.run()"]
    assert key not in config


def test_imports_under_the_old_key_are_read() -> None:
    config: Config = {"import": ["$import math"], "value": "$math.floor(2.5)"}
    assert "old_imports_key" in _applied(config)
    parser = ConfigParser()
    parser.read_config(config)
    assert parser.get_parsed_content("value") == 2


def test_removed_and_renamed_arguments() -> None:
    swin = {"_target_": "SwinUNETR", "img_size": 96, "in_channels": 1, "out_channels": 2}
    unetr = {"_target_": "monai.networks.nets.UNETR", "pos_embed": "conv", "img_size": 32}
    config: Config = {"network_def": swin, "list": [unetr]}
    assert "removed_arguments" in _applied(config)
    assert swin == {"_target_": "SwinUNETR", "in_channels": 1, "out_channels": 2}
    assert unetr == {"_target_": "monai.networks.nets.UNETR", "proj_type": "conv", "img_size": 32}


def test_numpy_names_in_expressions_and_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "alltrue", None, raising=False)  # so that what the shim adds is taken away again
    monkeypatch.delattr(np, "alltrue")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "net.py").write_text("import numpy as np\nx = np.alltrue([1])\ny = np.prod([1])\n")
    config: Config = {
        "a": "$np.product([2, 3])",
        "b": "$numpy.int(3)",
        "text": "np.product is history",
        "c": "$np.prod",
    }
    told = [done.what for done in shims.apply_shims(config, tmp_path)]
    assert (config["a"], config["b"], config["c"]) == ("$np.prod([2, 3])", "$int(3)", "$np.prod")
    assert config["text"] == "np.product is history"
    assert any("scripts/net.py uses np.alltrue" in what for what in told)
    assert vars(np)["alltrue"] is np.all


def test_devices_of_somebody_elses_machine_are_the_cpu() -> None:
    load = "$torch.load('x.pt', map_location=torch.device('cuda'))"
    other = "$torch.load('x.pt', map_location='cuda:0').cuda()"
    step: dict[str, Any] = {"_target_": "EnsureTyped", "keys": "image", "device": "cuda:1"}
    config: Config = {"device": "$torch.device('cuda:0')", "arch": load, "b": other, "steps": [step]}
    assert "own_device" in _applied(config)
    assert config["device"] == "$torch.device('cpu')"
    assert config["arch"] == "$torch.load('x.pt', map_location=torch.device('cpu'))"
    assert config["b"] == "$torch.load('x.pt', map_location='cpu').cpu()"
    assert step["device"] == "cpu"


def test_nothing_is_downloaded_and_no_pickle_is_code() -> None:
    network: dict[str, Any] = {"_target_": "TorchVisionFCModel", "pretrained": True}
    config: Config = {
        "network_def": network,
        "other": "$monai.networks.nets.resnet50(pretrained=True, pretrained_backbone=True)",
        "state": "$torch.load('x.pt', weights_only=False)",
    }
    assert {"no_downloads", "safe_loading"} <= _applied(config).keys()
    assert network["pretrained"] is False
    assert "pretrained=False, pretrained_backbone=False" in config["other"]
    assert config["state"] == "$torch.load('x.pt', weights_only=True)"


def test_reference_labels_are_left_out_with_their_arguments() -> None:
    spacing = {"_target_": "Spacingd", "keys": ["image", "label"], "pixdim": [1, 2], "mode": ["bilinear", "nearest"]}
    cast = {"_target_": "CastToTyped", "keys": "label", "dtype": "$torch.uint8"}
    config: Config = {"preprocessing": {"_target_": "Compose", "transforms": [spacing, cast]}}
    assert "no_labels" in _applied(config)
    assert spacing == {"_target_": "Spacingd", "keys": ["image"], "pixdim": [1, 2], "mode": ["bilinear"]}
    assert cast == {"_target_": "wetread.infer.configs.in_memory.Unchanged"}


def test_initialize_does_not_load_weights() -> None:
    steps = ["$setattr(torch.backends.cudnn, 'benchmark', True)", "$@checkpointloader(@evaluator)"]
    config: Config = {"initialize": [*steps, "$@network_def.load_state_dict(torch.load('x.pt'))"]}
    _applied(config)
    assert config["initialize"] == steps[:1]


def test_folders_of_somebody_elses_machine(tmp_path: Path) -> None:
    config: Config = {
        "bundle_root": "/workspace/b",
        "dataset_dir": "/workspace/data",
        "data_file_base_dir": str(tmp_path),
    }
    assert _applied(config).keys() == {"own_root", "own_data_folders"}
    assert config == {
        **config,
        "bundle_root": str(HERE),
        "dataset_dir": str(HERE),
        "data_file_base_dir": str(tmp_path),
    }


def test_retinanet_on_resnet_is_made_without_torchvision_with_the_names_torchvision_gives() -> None:
    stand_in_for_torchvision()
    backbone = resnet10(spatial_dims=3, n_input_channels=1, conv1_t_stride=2)
    features = resnet_fpn_feature_extractor(backbone, 3, False, [1, 2], None)
    network = RetinaNet(3, 1, 3, features, (8, 8, 8)).eval()
    names = set(network.state_dict())
    assert "feature_extractor.body.conv1.weight" in names
    assert "feature_extractor.body.layer2.0.conv1.weight" in names
    assert not any(".layer3." in name or ".fc." in name for name in names)
    with torch.inference_mode():
        levels = network.feature_extractor(torch.zeros(1, 1, 32, 32, 32))
    assert [tuple(level.shape) for level in levels.values()] == [
        (1, 256, 8, 8, 8),
        (1, 256, 4, 4, 4),
        (1, 256, 2, 2, 2),
    ]


def test_every_transform_that_is_replaced_passes_the_static_check() -> None:
    """The check does not import the shims: a name it lacks would be called a mistake that the shim mends."""
    assert set(shims._REMOVED_TRANSFORMS) == set(FORMER_TRANSFORMS)
