"""``wetread bundle``: from one site to another box, by the commands alone."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import hostile_bundles as hostile
from bundle_commands import Command, bundle_command
from network_bundles import threshold_bundle
from peers import config
from threshold_bundle import write_threshold_bundle
from wetread.cli.main import run
from wetread.errors import EngineUnavailable
from wetread.infer.benchmark import Benchmark
from wetread.infer.compile import CompiledEngine
from wetread.infer.graph.export import adopt_graph

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return bundle_command(tmp_path, monkeypatch, capsys)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_threshold_bundle(tmp_path / "source" / "threshold")


def test_bundle_goes_from_its_maker_to_a_box_by_signature(tmp_path: Path, source: Path, command: Command) -> None:
    refused = command("install", source, code=2)
    assert (refused["state"], refused["code"]) == ("failed", "bundle-not-trusted")
    made = command("sign", "--new-key", "maker.key")
    signed = command("sign", source, "--key", "maker.key")
    assert (signed["key"], signed["files"]) == (made["key"], 4)
    store = tmp_path / "home" / ".config" / "wetread" / "trusted_keys"
    store.mkdir(parents=True)
    Path("maker.key.pub").rename(store / "maker.pub")
    installed = command("install", source)
    assert installed["trusted"] == f"signature, {made['key']}"
    exported = command("export", "threshold", "--out", "threshold.zip")
    assert exported["digest"] == installed["digest"]
    again = command("install", "threshold.zip", "--into", "box")
    assert (again["digest"], again["trusted"]) == (installed["digest"], installed["trusted"])
    (listed,) = [b for b in command("list") if b["name"] == "threshold"]
    assert (listed["state"], listed["trust"]) == ("files present", f"signature: {made['key']}")


def test_tables_fit_into_eighty_columns(source: Path, command: Command) -> None:
    command("install", source, "--trust-local")
    for arguments in (
        ["list"],
        ["check", "threshold"],
        ["compile", "threshold"],
        ["export", "threshold", "--out", "t"],
    ):
        text = command(*arguments, as_json=False)
        lines = [
            line for line in text.splitlines() if max(map(len, line.split()), default=0) < 60
        ]  # a path stays whole
        assert max(map(len, lines)) <= 80, arguments
        assert "threshold" in text


def test_compiled_engines_of_long_names_fit_into_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    from wetread.cli.bundle_engines import _show_compiled

    row = {"network": "box_network_def", "engine": "tensorrt-rtx", "precision": "f16", "gpu": "sm120", "seconds": 123.4}
    measured = {"agreement": 0.99999, "min_dice": 0.99989, "max_volume_change": 0.00018, "max_difference": 1e-5}
    _show_compiled(
        {**row, "size_bytes": 132_900_000, "on_device_part": "not run", "measured": measured, "measured_on": "golden"}
    )
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "box_network_def  tensorrt-rtx  f16  for sm120  132.9 MB  123.4 s"


@pytest.mark.parametrize(
    ("name", "said"),
    [("/missing/path", "there is no folder /missing/path"), ("nothing", "there is no bundle 'nothing'; installed: ")],
)
@pytest.mark.parametrize("action", ["check", "compile", "bench", "sign", "export"])
def test_bundle_that_is_not_there_is_a_sentence(action: str, name: str, said: str, command: Command) -> None:
    more = ["--out", "x.zip"] if action == "export" else ["--new-key", "k"] if action == "sign" else []
    assert said in command(action, name, *more, code=2)["reason"]


def test_compiled_engines_are_listed(source: Path, command: Command) -> None:
    (engine,) = command("compile", source)
    assert (engine["engine"], engine["precision"], engine["on_device_part"]) == ("openvino", "f32", "passed")


def test_help_names_the_keys_that_json_prints(
    source: Path, command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command("install", source, "--into", tmp_path / "monai_bundles", "--trust-local")
    (tmp_path / "wetread.toml").write_text('data_dir = "data"\n')
    run(["doctor", "--json"])
    doctor = json.loads(capsys.readouterr().out)
    measured = {field.name for field in dataclasses.fields(Benchmark)} - {"problem"}
    compiled = {field.name for field in dataclasses.fields(CompiledEngine)}
    printed = {
        ("bundle", "list"): set(command("list")[0]),
        ("bundle", "compile"): compiled,
        ("bundle", "bench"): measured,
        ("doctor",): set(doctor[0]),
    }
    for words, keys in printed.items():
        with pytest.raises(SystemExit):
            run([*words, "--help"])
        said = " ".join(capsys.readouterr().out.split()).rpartition("--json prints a list with one object for each ")[2]
        assert set(said.partition(": ")[2].rstrip(".").split(", ")) == keys
        table = Path("packaging/docs/BUNDLES.md")
        assert f"| `{' '.join(words)}` | " in (ROOT / table).read_text(encoding="utf-8")
        assert f"`{said.partition(': ')[2].rstrip('.')}` |" in (ROOT / table).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gpu", "RTX4090"], "'RTX4090' is no compute capability; expected sm and a number, e.g. sm89"),
        (["--gpu", "sm1"], "tensorrt"),
        (["--engine", "openvino", "--precision", "f16"], "openvino computes in f32 or bf16, not in f16"),
        (["--engine", "torch"], "torch is the reference"),
        (["--engine", "openvino", "--gpu", "sm89"], "openvino runs on the CPU; --gpu is for tensorrt-rtx"),
    ],
)
def test_what_cannot_be_compiled_is_refused_before_torch_is_imported(
    source: Path, options: list[str], said: str
) -> None:
    code = (
        f"import sys; from wetread.cli.main import run; given = ['bundle', 'compile', {str(source)!r}, *{options!r}]; "
        "code = run(given); print([m for m in ('torch', 'monai', 'openvino') if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (2, "[]")
    assert said in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="an administrator becomes somebody who may not read")
@pytest.mark.parametrize("unreadable", ["configs", "configs/wetread.json", "models/model.safetensors"])
def test_bundle_that_this_user_may_not_read_is_a_sentence(unreadable: str, source: Path, command: Command) -> None:
    with tempfile.TemporaryDirectory() as open_to_all:
        bundles = Path(shutil.copytree(source, Path(open_to_all) / "monai_bundles" / "threshold")).parent
        Path(open_to_all).chmod(0o755)
        (bundles / "threshold" / unreadable).chmod(0o000)
        os.chdir(open_to_all)
        os.seteuid(65534)
        try:
            # Where configs cannot be looked into, nothing says that it is a bundle: a wrong name, not a finding.
            checked = command("check", "monai_bundles/threshold", code=2 if unreadable == "configs" else 1)
            listed = command("list")
        finally:
            os.seteuid(0)
    assert f"{unreadable}" in checked["reason"]
    assert "Permission denied" in checked["reason"]
    assert [
        row["reason"] for row in listed if row["name"] == "threshold" and "Permission denied" not in row["reason"]
    ] == []


def test_ready_engines_travel_with_a_signature_of_their_own(
    source: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        from wetread.infer.engines.engine import backend

        backend("tensorrt-rtx").library_version()
    except EngineUnavailable as exc:
        pytest.skip(f"no engine can be built ahead of time here: {exc}")
    (built,) = command("compile", source, "--gpu", "sm89")
    command("sign", "--new-key", "maker.key")
    command("sign", source, "--key", "maker.key")
    Path("keys").mkdir()
    Path("maker.key.pub").rename(Path("keys") / "maker.pub")
    assert command("export", source, "--out", "unsigned.zip", "--with-engines")["engines"] == 1
    assert command("export", source, "--out", "signed.zip", "--with-engines", "--key", "maker.key")["engines"] == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "other-cache")
    left_out = command("install", "unsigned.zip", "--keys", "keys", "--into", "box1")
    assert left_out["engines"] == 0
    assert "the ready engines were left out, they will be built here" in left_out["notes"][0]
    taken = command("install", "signed.zip", "--keys", "keys", "--into", "box2")
    assert (taken["engines"], taken["notes"]) == (1, [])
    (again,) = command("compile", source, "--gpu", "sm89")
    assert again["sha256"] == built["sha256"]
    assert Path(again["path"]) != Path(built["path"])


def test_graph_of_openvino_travels_so_that_the_other_box_exports_nothing(
    source: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = command("export", source, "--out", "empty.zip", "--with-engines")
    assert (empty["engines"], empty["graphs"]) == (0, 0)
    assert empty["notes"][0].endswith("holds nothing of this bundle; first run wetread bundle compile threshold")
    (built,) = command("compile", source, "--engine", "openvino")
    command("sign", "--new-key", "maker.key")
    command("sign", source, "--key", "maker.key")
    Path("keys").mkdir()
    Path("maker.key.pub").rename(Path("keys") / "maker.pub")
    made = command("export", source, "--out", "signed.zip", "--with-engines", "--key", "maker.key")
    assert (made["engines"], made["graphs"]) == (0, 1)
    assert "OpenVINO compiles at each start, on the machine itself; the exported graph is carried" in made["notes"][0]
    shown = command("export", source, "--out", "again.zip", "--with-engines", as_json=False)
    assert "OpenVINO compiles at each" in " ".join(shown.split())
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("other-cache").absolute()))
    left_out = command("install", "again.zip", "--keys", "keys", "--into", "box1")
    assert left_out["graphs"] == 0
    assert "were left out" in left_out["notes"][0]
    taken = command("install", "signed.zip", "--keys", "keys", "--into", "box2")
    assert (taken["engines"], taken["graphs"], taken["notes"]) == (0, 1, [])
    monkeypatch.delattr("torch.onnx.export")
    (again,) = command("compile", Path("box2") / "threshold", "--engine", "openvino")
    assert again["sha256"] == built["sha256"]
    assert Path(again["path"]).is_relative_to(Path("other-cache").absolute())


def test_graph_that_is_damaged_on_its_way_is_left_out(source: Path, command: Command, tmp_path: Path) -> None:
    (built,) = command("compile", source, "--engine", "openvino")
    path = Path(built["path"])
    for part in (path, path.with_suffix(".json")):
        shutil.copyfile(part, tmp_path / part.name)
    assert adopt_graph(tmp_path / path.name, tmp_path / "c1")
    (tmp_path / path.name).write_bytes(path.read_bytes() + b" ")
    assert not adopt_graph(tmp_path / path.name, tmp_path / "c2")
    assert not (tmp_path / "c2").exists()


def test_bench_keeps_the_warnings_of_libraries_to_itself(source: Path, tmp_path: Path) -> None:
    """It measures in processes of its own, which do not have what the command set up for its log."""
    path = source / "configs" / "inference.json"
    config = json.loads(path.read_text())
    del config["preprocessing"]["transforms"][2]["labels"]  # of Orientationd; MONAI warns of the default
    path.write_text(json.dumps(config))
    asked = ["bundle", "bench", str(source), "--repeats", "1", "--engine", "torch", "--json"]
    command_line = [sys.executable, "-m", "wetread", *asked]
    done = subprocess.run(command_line, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stderr == ""
    assert [row["engine"] for row in json.loads(done.stdout)] == ["torch"]


def test_bench_gives_one_object_for_each_engine(tmp_path: Path, command: Command) -> None:
    source = threshold_bundle(tmp_path / "golden" / "threshold").folder
    rows = command("bench", source, "--repeats", "1", "--engine", "openvino")
    keys = ["bundle", "engine", "precision", "device", "median_s", "speedup_vs_torch", "peak_mb", "agreement", "image"]
    assert [list(row) for row in rows] == [keys, keys]
    assert [(r["bundle"], r["engine"], r["precision"]) for r in rows] == [
        ("threshold", "torch", "f32"),
        ("threshold", "openvino", "f32"),
    ]
    assert set(rows[0]) >= {"device", "median_s", "speedup_vs_torch", "peak_mb", "agreement"}
    assert rows[0]["speedup_vs_torch"] == 1.0
    assert {row["image"] for row in rows} == {"golden case, 12 × 20 × 16 voxels (slices × rows × columns)"}
    assert all(r["median_s"] > 0 and r["peak_mb"] > 100 and r["agreement"] == 1.0 for r in rows)


def test_interrupted_bench_ends_its_processes_without_their_traces(tmp_path: Path, capfd: Any) -> None:
    from wetread.infer.benchmark import _runner

    bundle = threshold_bundle(tmp_path / "golden" / "threshold")
    interrupted = _runner((bundle.folder, "torch", "f32", tmp_path, None))
    runner = interrupted.__enter__()
    assert runner.peak_mb() > 0
    (process,) = multiprocessing.active_children()
    os.kill(process.pid or 0, signal.SIGINT)  # a terminal sends it to all
    assert runner.peak_mb() > 0
    assert not interrupted.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert process.exitcode == -signal.SIGKILL
    assert "Traceback" not in capfd.readouterr().err


def test_weights_of_a_bundle_that_is_there_are_fetched_by_its_name(source: Path, command: Command) -> None:
    source.parent.rename("monai_bundles")
    report = command("install", "threshold")
    assert (report["state"], report["weights"]) == ("files present", ["models/model.safetensors"])
    assert report["reason"] == "no engine was tried on this machine yet: wetread bundle check threshold"
    assert report["trusted"] == "no; runs because nothing in it needs trusted code"
    assert command("install", "threshold", "--trust-local")["trusted"].startswith("local, ")


def test_zip_that_leads_out_of_its_folder_is_refused(tmp_path: Path, source: Path, command: Command) -> None:
    archive = hostile.zip_of(source, tmp_path / "b.zip")
    hostile.add_entry(archive, "../../evil")
    refused = command("install", archive, "--trust-local", code=2)
    assert refused["code"] == "bundle-invalid"
    assert "leads out of the folder; nothing was extracted" in refused["reason"]
    assert zipfile.is_zipfile(archive)


def test_service_does_not_start_with_a_bundle_that_changed(tmp_path: Path, source: Path, command: Command) -> None:
    command("install", source, "--trust-local", "--into", "site")
    path = Path("site/threshold/configs/inference.json")
    path.chmod(0o644)
    path.write_text(path.read_text() + "\n")
    Path("wetread.toml").write_text(config(tmp_path / "site").replace("{port}", "0"))
    served = subprocess.run(
        [sys.executable, "-m", "wetread", "serve", "--config", "wetread.toml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert served.returncode == 2
    assert "the files of bundle threshold have changed since it was installed on" in served.stderr
