"""The static check lets the zoo's idioms pass and refuses whatever leads out of the allow-list, without running it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import hostile_bundles as hostile
from threshold_bundle import write_threshold_bundle
from wetread.bundles import load_bundle
from wetread.bundles.static_check import Finding, examine
from wetread.bundles.static_check_weights import examine_weights
from wetread.bundles.trust import admit
from wetread.errors import BundleInvalid, BundleNotTrusted

ROOT = Path(__file__).parents[2]

ZOO_EXPRESSIONS = [
    "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "$import glob",
    "$import os",
    "$import numpy as np",
    "$from pathlib import Path",
    "$from safetensors.torch import load_file",
    "$list(sorted(glob.glob(@dataset_dir + '/*.nii.gz')))",
    "$@network_def.to(@device)",
    "$@network_def.load_state_dict(torch.load(@bundle_root + '/models/model.pt'))",
    "$torch.load(@path, weights_only=True)",
    "$monai.handlers.from_engine(['pred', 'label'])",
    "$monai.utils.set_determinism(seed=123)",
    "$monai.networks.nets.resnet.resnet50(spatial_dims=3, n_input_channels=1)",
    "$monai.utils.InterpolateMode.BICUBIC",
    "$monai.data.utils.no_collation",
    "$[{'image': i} for i in @datalist]",
    "$[{'image': i, 'label': l} for i, l in zip(@images[-9:], @labels[-9:])]",
    "$os.path.join(@bundle_root, 'models', 'model.pt')",
    "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, 0))",
    "$lambda x: [xx['image'].meta for xx in x]",
    "$@evaluator.run()",
    "$@checkpointloader(@evaluator) if @load_pretrain else None",
    "$@train#handlers[: -2]",
    "$setattr(torch.backends.cudnn, 'benchmark', True)",
    "$[1.5, 1.5, 1.5] if @displayable_configs#highres else [3.0, 3.0, 3.0]",
    "$list(set([i+1 for i in range(132)]) - set([2,16,18]))",
    "$np.float32",
    "$@epoch % 2 == 0",
    '$f"{@name}_{1 + 1:03d}"',
]


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that must not be there in the end; a module that touches it when imported lies on the path."""
    path = tmp_path / "canary"
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / f"{hostile.MODULE}.py").write_text(f"open({str(path)!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(modules))
    yield path
    assert not path.exists(), "something of the hostile bundle was run"
    assert hostile.MODULE not in sys.modules


def findings(folder: Path, **entries: Any) -> list[Finding]:
    return examine(hostile.config_with(folder, **entries))


def refused(folder: Path) -> str:
    """The reason why the bundle may not run."""
    with pytest.raises(BundleNotTrusted) as problem:
        admit(load_bundle(folder))
    return str(problem.value)


@pytest.mark.parametrize("expression", ZOO_EXPRESSIONS)
def test_idiom_of_the_zoo_needs_no_trust(tmp_path: Path, expression: str) -> None:
    imports = ["$import glob", "$import os", "$import numpy as np"]
    found = findings(tmp_path / "b", imports=[i for i in imports if i != expression], here=[expression])
    assert [str(f) for f in found] == []


def test_every_idiom_together_is_admitted(tmp_path: Path) -> None:
    folder = hostile.config_with(
        tmp_path / "b",
        here=[
            e
            for e in ZOO_EXPRESSIONS
            if "import" not in e and "glob" not in e and "os.path" not in e and "$np" not in e
        ],
    )
    assert admit(load_bundle(folder)) is None


def test_bundle_that_ships_needs_no_trust() -> None:
    assert [str(f) for f in examine(ROOT / "monai_bundles" / "mr_brain_extraction")] == []


@pytest.mark.parametrize("name", hostile.EXPRESSIONS)
def test_hostile_expression_is_refused_with_file_key_and_expression(tmp_path: Path, canary: Path, name: str) -> None:
    expression = hostile.EXPRESSIONS[name](canary)
    imports = ["$import os", "$import json", "$import pathlib"]
    folder = hostile.config_with(tmp_path / "b", imports=imports, a={"deep": ["", expression]})
    reason = refused(folder)
    assert "needs trusted code: configs/inference.json, a::deep::1: $" in reason
    assert "Nothing of it was run" in reason


@pytest.mark.parametrize("name", hostile.ENTRIES)
def test_hostile_component_is_refused(tmp_path: Path, canary: Path, name: str) -> None:
    component = hostile.ENTRIES[name](canary)
    folder = hostile.config_with(tmp_path / "b", where="os.system", list=[{"inner": component}])
    assert "needs trusted code: configs/inference.json, list::0::inner: " in refused(folder)


@pytest.mark.parametrize(
    "statement",
    [
        "$import subprocess",
        "$from os import system",
        "$import scripts",
        "$import monai.bundle.scripts; 1",
        "$from monai.utils import run_cmd",
        "$import importlib",
        "$from builtins import eval",
        "$from . import x",
        "$import os as torch",
    ],
)
def test_import_of_anything_else_is_refused(tmp_path: Path, statement: str) -> None:
    (found,) = [f for f in findings(tmp_path / "b", imports=[statement]) if f.key.startswith("imports")]
    assert (found.what, found.for_reading) == (statement, True)


@pytest.mark.parametrize("content", ["@imports::0", "%imports::0", "%imports", "$@imports"])
def test_imported_function_reached_by_its_place_is_refused(tmp_path: Path, content: str) -> None:
    """Importing a function of MONAI runs nothing and its name is checked where it is used: but it also has an id."""
    found = findings(tmp_path / "b", imports=["$from monai import bundle"], here=content)
    assert [f.reason for f in found] == ["refers to imports, which holds imports"]


def test_import_as_an_argument_is_refused(tmp_path: Path) -> None:
    found = findings(tmp_path / "b", x={"_target_": "Lambdad", "keys": "image", "func": "$from monai import bundle"})
    assert [f.key for f in found] == ["x::func"]


def test_expression_hidden_in_a_key_is_refused(tmp_path: Path) -> None:
    """MONAI writes the keys above a relative reference into the expression."""
    key = "a') or __import__('os"
    found = findings(tmp_path / "b", **{key: {"x": 1, "y": "$@#x"}})
    assert [f.reason for f in found] == ["a relative reference below a key that is more than letters, digits and _"]


def test_content_from_a_file_outside_is_refused(tmp_path: Path) -> None:
    (found,) = findings(tmp_path / "b", here="%/etc/evil.json::x")
    assert found.reason == "takes its content from another file"


def test_override_in_the_manifest_is_checked_too(tmp_path: Path, canary: Path) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    path = folder / "configs" / "wetread.json"
    manifest = json.loads(path.read_text())
    manifest["runtime"] = {"override": {"device": f"$open('{canary}', 'w')"}}
    path.write_text("// written by hand\n" + json.dumps(manifest))
    (found,) = examine(folder)
    assert found.file == "configs/wetread.json"


@pytest.mark.parametrize("name", ["extra.yaml", "extra.YML", "docs/notes.json", "models/x.json"])
def test_config_in_an_unexpected_file_is_refused(tmp_path: Path, canary: Path, name: str) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    path = folder / "configs" / name if "/" not in name else folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"x": f"$open('{canary}', 'w')"}))  # JSON is YAML
    assert f"{path.relative_to(folder).as_posix()}, x: " in refused(folder)


def test_config_for_training_does_not_stop_a_read(tmp_path: Path) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    (folder / "configs" / "multi_gpu_train.json").write_text('{"x": "$dist.init_process_group(backend=\'nccl\')"}')
    found = examine(folder)
    assert found
    assert not any(f.for_reading for f in found)
    assert admit(load_bundle(folder)) is None


def test_logging_configuration_is_not_looked_at(tmp_path: Path) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    (folder / "configs" / "logging.conf").write_text("[handlers]\nargs=(__import__('os').system('x'),)\n")
    assert examine(folder) == []


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("x.yaml", "a: !!python/object/apply:os.system ['touch x']", "the tag tag:yaml.org,2002:python/object"),
        ("x.yaml", "a: !evil 1", "the tag !evil makes an object"),
        ("x.yaml", "a: [1", "is not YAML"),
        ("x.json", '{"a":' * 50_000 + "1" + "}" * 50_000, "too deeply"),
        ("x.json", '{"a":' * 100 + "1" + "}" * 100, "more than 60 levels"),
        ("x.yaml", "[" * 20_000, "too deeply"),
        ("x.json", "[" + "0," * 600_000 + "0]", "500000 values"),
        ("x.json", " " * (33 << 20), "33 MiB"),
        ("x.json", "{", "is not JSON"),
    ],
)
def test_file_that_is_no_config_is_refused_whoever_vouches_for_it(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    (folder / "configs" / name).write_text(text)
    with pytest.raises(BundleInvalid, match=reason):
        examine(folder)


def test_list_that_names_itself_a_million_times_is_refused(tmp_path: Path) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    (folder / "configs" / "x.yaml").write_text("\n".join(lines))
    with pytest.raises(BundleInvalid, match="500000 values"):
        examine(folder)


@pytest.mark.parametrize("name", ["glob.py", "numpy/__init__.py", "torch.cpython-311-x86_64-linux-gnu.so"])
def test_module_that_would_hide_one_of_python_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    assert "Python would import it in the place of a module of the same name" in refused(folder)


def test_compiled_python_that_no_digest_covers_is_refused(tmp_path: Path) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    cache = folder / "scripts" / "__pycache__"
    cache.mkdir(parents=True)
    (cache / "net.cpython-311.pyc").write_bytes(b"")
    assert "compiled Python that no digest covers" in refused(folder)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["model.pt", "state.pkl", "weights.bin"])
def test_pickle_that_calls_something_is_refused_unread(tmp_path: Path, canary: Path, name: str, protocol: int) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    (folder / "models" / name).write_bytes(hostile.evil_pickle(canary, protocol=protocol))
    with pytest.raises(BundleInvalid, match=rf"models/{name} is a pickle that would call "):
        admit(load_bundle(folder))


def test_pickle_inside_a_torch_file_is_refused_unread(tmp_path: Path, canary: Path) -> None:
    folder = write_threshold_bundle(tmp_path / "b")
    hostile.evil_torch_file(folder / "models" / "model.pt", canary)
    with pytest.raises(BundleInvalid, match=r"would call (io|builtins|__builtin__|_io)\.open when it is loaded"):
        admit(load_bundle(folder))


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_network_is_refused_and_its_state_is_accepted(tmp_path: Path, *, zipped: bool) -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))
    torch.save(
        {"model": network.state_dict(), "epoch": 3, "optimizer": torch.optim.Adam(network.parameters()).state_dict()},
        tmp_path / "state.pt",
        _use_new_zipfile_serialization=zipped,
    )
    assert examine_weights(tmp_path) == []
    torch.save(network, tmp_path / "network.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(BundleInvalid, match=r"would call torch\.nn\.modules\.container\.Sequential"):
        examine_weights(tmp_path)


def test_pickle_before_a_zip_file_is_refused(tmp_path: Path, canary: Path) -> None:
    torch.save({}, tmp_path / "model.pt")
    honest = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(hostile.evil_pickle(canary) + honest)
    with pytest.raises(BundleInvalid, match="by one of its ends and not by the other"):
        examine_weights(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (hostile.huge_safetensors(), "claims 10000000"),
        (b"\xff" * 8 + b"{}", "claims a header of"),
        (b"\x02" + b"\0" * 7 + b"[]", "is not a safetensors file"),
    ],
)
def test_weights_that_claim_more_than_there_is_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(BundleInvalid, match=reason):
        examine_weights(tmp_path)
