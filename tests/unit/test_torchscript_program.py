"""TorchScript: its tensors are data and need nobody's word; run as the program it is, it needs somebody's."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bundles import vouched
from network_bundles import THRESHOLD, oblique_volume, threshold_bundle
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.bundle import file_sha256
from wetread.bundles.template import write_template
from wetread.bundles.trust import admit
from wetread.errors import BundleInvalid, BundleNotTrusted, WeightsMissing
from wetread.infer.check import check_bundle
from wetread.infer.configs.weights import state_dict
from wetread.infer.model import open_model
from wetread.jobs.isolation import forbid_code_in_data
from wetread.records.volume import LabelMap

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
VOLUME = oblique_volume()
EXPECTED = (VOLUME.array > THRESHOLD).astype(np.uint8)


class Above(nn.Module):
    """Class 1 where the image is above the threshold; the parameters are those of a ``Conv3d``."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1, 1))
        self.bias = nn.Parameter(torch.tensor([THRESHOLD, -THRESHOLD]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv3d(x, self.weight, self.bias)


class Looping(Above):
    """The same, in a way that no graph of fixed shape can say."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts: list[torch.Tensor] = []
        for k in range(x.shape[2]):
            parts.append(nn.functional.conv3d(x[:, :, k : k + 1], self.weight, self.bias))
        while parts[0].sum().item() > 1e30:
            parts[0] = parts[0] / 2
        return torch.cat(parts, 2)


class Hostile(Above):
    """Makes a file as soon as it is loaded, and again when it is called."""

    def __init__(self, canary: Path) -> None:
        super().__init__()
        self.canary = str(canary)

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, torch.Tensor, str, bool]:
        return self.weight, self.bias, self.canary, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, torch.Tensor, str, bool]) -> None:
        self.weight, self.bias, self.canary, self.training = state
        self.bias = self.bias + torch.from_file(self.canary, True, 4).sum()  # used, or it would be optimised away

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv3d(x, self.weight, self.bias + torch.from_file(self.canary, True, 4).sum())


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def archive(path: Path, network: nn.Module, *, script: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(network) if script else torch.jit.trace(network.eval(), torch.zeros(1, 1, 4, 4, 4))
        made.save(str(path))
    return path


def bundle_of(
    folder: Path, network: nn.Module, *, script: bool = True, program: bool = True, name: str = "model.ts", **more: Any
) -> Bundle:
    """The threshold bundle with a TorchScript archive; as a program, there is no network in its config."""
    bundle = threshold_bundle(folder, **more)
    (folder / "models" / "model.safetensors").unlink()
    path = archive(folder / "models" / name, network, script=script)
    if program:
        config = json.loads(bundle.config_path.read_text())
        del config["network_def"]
        bundle.config_path.write_text(json.dumps(config))
    entry = {"path": f"models/{name}", "network": "network_def", "sha256": file_sha256(path), "program": program}
    _change(folder, weights=[entry])
    return load_bundle(folder)


def _change(folder: Path, **keys: Any) -> None:
    path = folder / "configs" / "wetread.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("script", [True, False], ids=["scripted", "traced"])
def test_program_somebody_vouched_for_answers_with_every_engine(engine: str, script: bool, tmp_path: Path) -> None:
    bundle = vouched(bundle_of(tmp_path / "b", Above(), script=script))
    model = open_model(bundle, engine=engine, cache_folder=tmp_path / "c")
    answer = model.run({"image": VOLUME})
    assert isinstance(answer, LabelMap)
    np.testing.assert_array_equal(answer.array, EXPECTED)
    assert len(model.identity.certificate) == 64
    assert any("model.ts is run as the program it is" in said for said in model.identity.shims)


def test_program_that_no_graph_can_say_runs_with_the_reference(tmp_path: Path) -> None:
    model = open_model(vouched(bundle_of(tmp_path / "b", Looping())), cache_folder=tmp_path / "c")
    answer = model.run({"image": VOLUME})
    assert isinstance(answer, LabelMap)
    np.testing.assert_array_equal(answer.array, EXPECTED)
    assert model.identity.name == "torch"
    assert "openvino may not serve" in model.choice_reason


def test_canary_of_these_tests_sings(tmp_path: Path, canary: Path) -> None:
    """Or the tests below would show nothing."""
    torch.jit.load(archive(tmp_path / "x.ts", Hostile(canary)))
    assert canary.exists()


@pytest.mark.parametrize("name", ["model.ts", "model.pt", "model.unheard_of"])
def test_program_nobody_vouched_for_is_refused_before_it_is_loaded(tmp_path: Path, canary: Path, name: str) -> None:
    bundle = bundle_of(tmp_path / "b", Hostile(canary), name=name)
    canary.unlink(missing_ok=True)
    with pytest.raises(BundleNotTrusted, match=rf"models/{name} \(TorchScript that is run as a program\)"):
        open_model(bundle, cache_folder=tmp_path / "c")
    assert not canary.exists()


def test_program_that_changed_since_somebody_vouched_for_it_is_not_loaded(tmp_path: Path, canary: Path) -> None:
    bundle = vouched(bundle_of(tmp_path / "b", Above()))
    archive(bundle.folder / "models" / "model.ts", Hostile(canary))
    canary.unlink(missing_ok=True)
    with pytest.raises(BundleNotTrusted, match="have changed since it was installed"):
        open_model(bundle, cache_folder=tmp_path / "c")
    with pytest.raises(WeightsMissing, match="the manifest names"):
        open_model(vouched(bundle), cache_folder=tmp_path / "c")
    assert not canary.exists()


def test_tensors_of_an_archive_need_nobodys_word_and_nothing_of_it_runs(tmp_path: Path, canary: Path) -> None:
    bundle = bundle_of(tmp_path / "b", Above(), program=False)
    admit(bundle)
    answer = open_model(bundle, engine="torch", cache_folder=tmp_path / "c").run({"image": VOLUME})
    assert isinstance(answer, LabelMap)
    np.testing.assert_array_equal(answer.array, EXPECTED)
    hostile = bundle_of(tmp_path / "h", Hostile(canary), program=False)
    canary.unlink(missing_ok=True)
    with pytest.raises(BundleInvalid, match="keeps a state of its own kind, which only its code could read"):
        open_model(hostile, engine="torch", cache_folder=tmp_path / "c")
    assert not canary.exists()


def test_archive_that_only_lies_there_asks_for_no_trust_and_is_not_loaded(tmp_path: Path, canary: Path) -> None:
    bundle = threshold_bundle(tmp_path / "b")
    archive(bundle.folder / "models" / "model.ts", Hostile(canary))
    canary.unlink(missing_ok=True)
    admit(bundle)
    open_model(bundle, engine="torch", cache_folder=tmp_path / "c").run({"image": VOLUME})
    assert not canary.exists()


def test_config_that_loads_an_archive_by_itself_is_refused_by_torch(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``torch.load`` is allowed in expressions, and hands archives on to ``torch.jit.load`` where nobody forbids it."""
    for name in ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.setenv(name, "")  # or what is set below would stay
        monkeypatch.delenv(name)
    forbid_code_in_data()
    bundle = threshold_bundle(tmp_path / "b")
    path = archive(bundle.folder / "models" / "model.ts", Hostile(canary))
    canary.unlink(missing_ok=True)
    config = json.loads(bundle.config_path.read_text())
    config["network_def"]["in_channels"] = "$torch.load(@bundle_root + '/models/model.ts') and 1"
    bundle.config_path.write_text(json.dumps(config))
    bundle = load_bundle(bundle.folder)
    admit(bundle)
    with pytest.raises(BundleInvalid, match="TorchScript"):
        open_model(bundle, engine="torch", cache_folder=tmp_path / "c")
    assert path.exists()
    assert not canary.exists()


def _with_broken_code(whole: bytes) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(changed, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info.filename, content.replace(b"return", b"return return"))
    return changed.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda whole: whole[: len(whole) // 2], "is no TorchScript archive|is cut or forged"),
        (_with_broken_code, "cannot be loaded: "),
        (lambda _whole: b"PK\x03\x04 nothing", "is no TorchScript archive|is cut or forged"),
    ],
    ids=["cut", "changed", "forged"],
)
def test_damaged_program_is_one_sentence(tmp_path: Path, content: Any, said: str) -> None:
    bundle = bundle_of(tmp_path / "b", Above())
    path = bundle.folder / "models" / "model.ts"
    path.write_bytes(content(path.read_bytes()))
    manifest = json.loads((bundle.folder / "configs" / "wetread.json").read_text())
    _change(bundle.folder, weights=[{**manifest["weights"][0], "sha256": file_sha256(path)}])
    with pytest.raises(BundleInvalid, match=said) as raised:
        open_model(vouched(load_bundle(bundle.folder)), engine="torch", cache_folder=tmp_path / "c")
    assert len(str(raised.value).splitlines()) == 1


def test_config_without_a_network_says_what_to_do_about_an_archive(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", Above())
    (entry,) = bundle.manifest.model_dump(mode="json")["weights"]
    _change(bundle.folder, weights=[{**entry, "program": False}])
    with pytest.raises(
        BundleInvalid, match=r'makes no network_def for the tensors of .*"program": true in wetread\.json'
    ):
        open_model(load_bundle(bundle.folder), engine="torch", cache_folder=tmp_path / "c")


def test_template_and_check_of_a_bundle_that_is_nothing_but_torchscript(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", Above(), golden=False)
    (bundle.folder / "configs" / "wetread.json").unlink()
    text = write_template(bundle.folder, tmp_path / "c").read_text()
    template = json.loads("\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//")))
    (entry,) = template["weights"]
    digest = file_sha256(bundle.folder / "models" / "model.ts")
    assert entry == {"path": "models/model.ts", "network": "network_def", "sha256": digest, "program": True}
    assert "somebody must vouch for" in text
    report = check_bundle(bundle.folder, tmp_path / "c")
    assert (report.loads, report.problems) == (True, ())


def test_weights_of_torchscript_are_its_tensors(tmp_path: Path) -> None:
    found = state_dict(archive(tmp_path / "model.pt", Above(), script=False))
    assert sorted(found) == ["bias", "weight"]
    assert torch.equal(found["weight"], Above().weight)
