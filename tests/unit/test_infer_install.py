"""Weights come out of a wheel only if they are the ones the manifest names, and never half."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bundles import BRAIN, write_bundle
from wetread.bundles import Bundle
from wetread.errors import WeightsMissing
from wetread.infer.install import install_weights, torchscript_to_safetensors

MEMBER = "data/models/model.pt"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)).save(tmp_path / "model.pt")
    path = tmp_path / "nets-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "model.pt", MEMBER)
    return path


def _bundle(folder: Path, wheel: Path, **wrong: str) -> Bundle:
    member = zipfile.ZipFile(wheel).read(MEMBER)
    source = {"package": "nets==1.0", "member": MEMBER, "sha256": _sha256(member)}
    weights = {
        "path": "models/net.safetensors",
        "network": "net",
        "sha256": _sha256(torchscript_to_safetensors(member)),
    }
    for name, value in wrong.items():
        (weights if name == "converted" else source)["sha256" if name != "member" else "member"] = value
    return write_bundle(folder, BRAIN, weights=[{**weights, "source": source}])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_weights_from_a_wheel_are_the_publishers(tmp_path: Path, wheel: Path) -> None:
    bundle = _bundle(tmp_path / "b", wheel)
    told: list[str] = []
    install_weights(bundle, wheel=wheel, progress=lambda what, _share: told.append(what))
    bundle.check_weights()
    expected = torch.jit.load(tmp_path / "model.pt").state_dict()
    installed = load_file(bundle.folder / "models/net.safetensors")
    assert {k: v.tolist() for k, v in installed.items()} == {k: v.tolist() for k, v in expected.items()}
    assert told == ["installing models/net.safetensors", "weights are in place"]


def test_weights_in_place_are_left_alone(tmp_path: Path, wheel: Path) -> None:
    bundle = _bundle(tmp_path / "b", wheel)
    install_weights(bundle, wheel=wheel)
    before = (bundle.folder / "models/net.safetensors").stat().st_mtime_ns
    install_weights(bundle, wheel=tmp_path / "gone.whl")
    assert (bundle.folder / "models/net.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"source": "0" * 64}, r"model\.pt in nets.* expected 0000000000000000…; nothing was installed"),
        ({"converted": "1" * 64}, r"converted from nets==1\.0, .*expected 1111111111111111…; nothing was installed"),
        ({"member": "data/other.pt"}, r"data/other\.pt cannot be read"),
    ],
)
def test_weights_that_are_not_the_named_ones_are_not_installed(
    tmp_path: Path, wheel: Path, wrong: dict[str, str], message: str
) -> None:
    bundle = _bundle(tmp_path / "b", wheel, **wrong)
    with pytest.raises(WeightsMissing, match=message):
        install_weights(bundle, wheel=wheel)
    assert not (bundle.folder / "models").exists()


def test_member_with_another_digest_is_never_loaded(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = _bundle(tmp_path / "b", wheel, source="0" * 64)
    loaded: list[object] = []
    monkeypatch.setattr(torch.jit, "load", lambda *args, **_: loaded.append(args))
    with pytest.raises(WeightsMissing):
        install_weights(bundle, wheel=wheel)
    assert loaded == []


def test_file_that_is_not_a_wheel_is_refused(tmp_path: Path, wheel: Path) -> None:
    bundle = _bundle(tmp_path / "b", wheel)
    wheel.write_bytes(b"not a zip file")
    with pytest.raises(WeightsMissing, match=r"is not the wheel of nets==1\.0"):
        install_weights(bundle, wheel=wheel)


def test_machine_without_internet_is_told_to_give_the_wheel(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(command: list[str], **_: object) -> None:
        raise subprocess.CalledProcessError(
            1, command, stderr="tries\nERROR: No matching distribution found for nets\n"
        )

    monkeypatch.setattr(subprocess, "run", offline)
    with pytest.raises(WeightsMissing, match=r"could not download nets==1\.0: ERROR: No matching.*--from WHEEL"):
        install_weights(_bundle(tmp_path / "b", wheel))


def test_package_is_downloaded_once_without_its_dependencies(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def download(command: list[str], **_: object) -> None:
        commands.append(command)
        (Path(command[command.index("--dest") + 1]) / wheel.name).write_bytes(wheel.read_bytes())

    monkeypatch.setattr(subprocess, "run", download)
    bundle = _bundle(tmp_path / "b", wheel)
    first = bundle.manifest.weights[0]
    twice = (first, first.model_copy(update={"path": "models/second.safetensors"}))
    both = Bundle(
        bundle.folder, bundle.name, bundle.version, bundle.task, bundle.manifest.model_copy(update={"weights": twice})
    )
    install_weights(both)
    both.check_weights()
    (command,) = commands
    assert command[-1] == "nets==1.0"
    assert {"download", "--no-deps"} <= set(command)


def test_weights_without_a_source_are_named(tmp_path: Path) -> None:
    weights = {"path": "models/net.safetensors", "network": "net", "sha256": "0" * 64}
    bundle = write_bundle(tmp_path / "b", BRAIN, weights=[weights])
    with pytest.raises(WeightsMissing, match="names no source"):
        install_weights(bundle)
