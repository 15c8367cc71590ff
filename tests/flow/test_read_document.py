"""What ``wetread read`` says, as text and as JSON of the one documented shape, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from peers import WetreadProcess
from phantoms import write_series
from wetread.cli.main import run
from wetread.extras import how_to_install
from wetread.infer import forecast
from wetread.jobs import admission

SCHEMA = json.loads((Path(__file__).parents[2] / "packaging" / "docs" / "read.schema.json").read_text())


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def command(tmp_path: Path, threshold_bundles: Path) -> list[str]:
    return ["--bundle", str(threshold_bundles / "threshold"), "--out", str(tmp_path / "out"), "--engine", "torch"]


def validate(document: Any, part: str = "") -> None:
    Draft202012Validator.check_schema(SCHEMA)
    schema = {**SCHEMA["$defs"][part], "$defs": SCHEMA["$defs"]} if part else SCHEMA
    Draft202012Validator(schema).validate(document)


def nifti(path: Path, **values: float) -> Path:
    array = np.zeros((40, 48, 24), np.float32)
    array[10:30, 12:36, 6:18] = 900
    array[0, 0, :2] = values.get("corner", 0.0)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.1, 0.9, 2.5, 1.0])), path)
    return path


@pytest.mark.parametrize("engine", ["tensorrt", "tensorrt-rtx"])
def test_engine_of_a_gpu_is_asked_for_by_name_and_missed_in_a_sentence(
    engine: str, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``[jobs] engine`` and ``bundle check`` name them."""
    monkeypatch.setitem(sys.modules, engine.replace("-", "_"), None)  # as if it were not installed
    write_series(tmp_path / "study")
    assert run(["read", str(tmp_path / "study"), *command[:-1], engine]) == 2
    assert f"the package {engine} is not installed; {how_to_install(engine)}" in capsys.readouterr().err


def test_read_of_a_study_says_its_series_prediction_engine_and_codes(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    phantom = write_series(tmp_path / "study")
    assert run(["read", str(tmp_path / "study"), *command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate(document)
    (read,) = document["reads"]
    (series,) = read["series"]
    assert (series["number"], series["description"], series["input"]) == (3, "T1 MPRAGE", "image")
    assert series["series_instance_uid"] == str(phantom.series_instance_uid)
    assert read["prediction"]["memory_mb"] >= read["peak_memory_mb"] > 100
    assert (read["engine"]["name"], read["engine"]["precision"]) == ("torch", "f32")
    (finding,) = read["findings"]
    assert finding["code"] == {"value": "12738006", "scheme": "SCT", "meaning": "Brain"}
    assert finding["measurements"][0]["code"]["value"] == "118565006"
    assert {r["kind"] for r in read["results"]} == {"SEG", "SR", "SC"}


@pytest.mark.parametrize(
    ("options", "rendition", "classes"),
    [
        pytest.param([], "common", ["66.4", "88.33"], id="default"),
        pytest.param(["--rendition", "modern"], "modern", ["66.7", "88.34"], id="modern"),
    ],
)
def test_read_writes_the_rendition_that_was_asked_for(
    tmp_path: Path,
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    rendition: str,
    classes: list[str],
) -> None:
    write_series(tmp_path / "study")
    assert run(["read", str(tmp_path / "study"), *command, *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate(document)
    results = document["reads"][0]["results"]
    assert {r["rendition"] for r in results} == {rendition}
    assert [r["sop_class_uid"] for r in results[:2]] == [f"1.2.840.10008.5.1.4.1.1.{c}" for c in classes]


def test_text_says_what_is_predicted_before_and_which_series_was_taken(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "study")
    assert run(["read", str(tmp_path / "study"), *command]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("predicted: about ")
    assert "windows" in lines[0]
    assert lines[1].startswith("read image: series 3 'T1 MPRAGE' (")
    assert lines[-1].startswith("measured: ")


def test_nifti_has_the_same_shape_on_disk_and_on_the_screen(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["read", str(nifti(tmp_path / "head.nii.gz")), *command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate(document)
    stored = json.loads((tmp_path / "out" / "findings.json").read_text())
    validate(stored, "read")
    assert document["reads"] == [stored]
    assert (stored["series"][0]["description"], stored["series"][0]["number"]) == ("head.nii.gz", None)
    assert [Path(r["path"]).name for r in stored["results"]] == ["labels.nii.gz"]


@pytest.mark.network
def test_job_is_shown_in_the_same_shape_with_prediction_and_what_was_measured(
    wetread: Callable[..., WetreadProcess], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = wetread(mode="shadow")
    write_series(tmp_path / "study")
    send = ["send", str(tmp_path / "study"), "--to", f"127.0.0.1:{service.port}", "--called", "WETREAD"]
    assert run([*send, "--calling", "CT1"]) == 0
    service.wait_for_state("read")
    (job,) = service.overview.jobs()
    capsys.readouterr()
    show = ["jobs", "show", job["id"], "--config", str(service.config)]
    assert run([*show, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate(document, "read")
    assert document["prediction"]["memory_mb"] == document["predicted_mb"] >= document["peak_memory_mb"]
    assert "windows" in document["prediction"]["basis"]
    assert run(show) == 0
    text = capsys.readouterr().out
    for said in ("predicted", "measured", "image: series 3 'T1 MPRAGE'", "engine", "Volume"):
        assert said in text


def test_read_that_never_fits_into_memory_is_refused_before_a_pixel_is_read(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "study")
    monkeypatch.setattr("wetread.pipeline.process", None)
    assert run(["read", str(tmp_path / "study"), *command, "--memory-mb", "100", "--json"]) == 3
    said = capsys.readouterr()
    document = json.loads(said.out)
    validate(document)
    assert (document["state"], document["code"]) == ("rejected", "too-large-for-machine")
    assert "MB of memory" in document["reason"]
    assert "100 MB are allowed here" in document["reason"]
    assert said.err.strip() == f"wetread: {document['reason']}"
    assert not (tmp_path / "out").exists()


def test_read_that_does_not_fit_now_fails_and_says_to_try_again(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "study")
    monkeypatch.setattr(admission, "available_mb", lambda: 20.0)
    assert run(["read", str(tmp_path / "study"), *command]) == 1
    assert "not enough memory now: it takes about" in capsys.readouterr().err


def test_read_starts_where_nothing_is_known_of_its_memory(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "study")
    monkeypatch.setattr(forecast, "can_predict", lambda _program: False)
    assert run(["read", str(tmp_path / "study"), *command]) == 0
    assert "predicted: nothing is known yet of such a read on this machine" in capsys.readouterr().out


def test_nifti_with_values_that_are_no_numbers_says_how_many_and_what_to_do(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = nifti(tmp_path / "head.nii.gz", corner=float("nan"))
    assert run(["read", str(path), *command]) == 3
    sentence = capsys.readouterr().err
    assert "head.nii.gz has 2 of 46080 voxels that are not numbers (NaN or infinite)" in sentence
    assert "series ?" not in sentence
