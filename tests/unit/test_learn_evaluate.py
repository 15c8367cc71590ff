"""Evaluation reads as a study is read; what it says is what a read would have said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from learning import films, settings, small_bundle, write_films
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.manifest import UncertaintyRule
from wetread.cli.main import run
from wetread.errors import DataUnusable
from wetread.infer.gate.golden import film_of
from wetread.infer.model import open_model
from wetread.learn.evaluate import evaluate
from wetread.learn.measured import HowRead
from wetread.learn.train import train
from wetread.records.output import Scores

pytestmark = pytest.mark.usefixtures("few_draws")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("evaluated")
    data = write_films(folder / "films.npz")
    return train(small_bundle(folder / "bundle"), settings(data, folder / "out", epochs=3)).bundle


def test_evaluation_says_what_a_read_says(trained: Bundle, tmp_path: Path) -> None:
    images, labels = films(6, seed=9)
    np.savez(tmp_path / "six.npz", test_images=images, test_labels=labels)
    evaluation = evaluate(trained, tmp_path / "six.npz", HowRead(tmp_path / "cache", "torch"))
    model = open_model(trained, engine="torch", cache_folder=tmp_path / "cache")
    for image, answer in zip(images, evaluation.answers, strict=True):
        read = model.run({"film": film_of((image / 255).astype(np.float32), label="film")})
        assert isinstance(read, Scores)
        assert answer.tolist() == pytest.approx(read.values, abs=1e-6)
    model.close()
    assert evaluation.labels.ravel().tolist() == [0, 1, 0, 1, 0, 1]


def test_evaluation_asks_for_scores_alone_also_where_a_read_asks_how_steady_they_are(
    trained: Bundle, tmp_path: Path
) -> None:
    images, labels = films(6, seed=9)
    np.savez(tmp_path / "six.npz", test_images=images, test_labels=labels)
    manifest = trained.manifest.model_copy(update={"uncertainty": UncertaintyRule(times=8, shift=0.05)})
    steady = replace(trained, manifest=manifest)
    plain = evaluate(trained, tmp_path / "six.npz", HowRead(tmp_path / "cache", "torch"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wetread.infer.uncertainty.changed", lambda *_: pytest.fail("changed copies were made"))
        again = evaluate(steady, tmp_path / "six.npz", HowRead(tmp_path / "cache", "torch"))
    assert np.array_equal(plain.answers, again.answers)


def test_test_part_is_measured_before_validation_and_named(trained: Bundle, tmp_path: Path) -> None:
    both = write_films(tmp_path / "both.npz", train=0, val=8, test=10)
    document = evaluate(trained, both, HowRead(tmp_path / "cache", "torch")).document()
    assert (document["n"], document["data"]["part"]) == (10, "test")  # type: ignore[index]
    only = write_films(tmp_path / "val.npz", train=0, val=8)
    document = evaluate(trained, only, HowRead(tmp_path / "cache", "torch")).document()
    assert (document["n"], document["data"]["part"]) == (8, "val")  # type: ignore[index]


def test_training_part_alone_is_no_evaluation(trained: Bundle, tmp_path: Path) -> None:
    data = write_films(tmp_path / "train.npz", train=8, val=0)
    with pytest.raises(DataUnusable, match="none of the parts test, val, only train"):
        evaluate(trained, data, HowRead(tmp_path / "cache", "torch"))


def test_command_prints_figures_and_writes_a_page_with_plots(
    trained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    data = write_films(
        tmp_path / "films.npz",
        train=0,
        val=0,
        test=12,
        test_sex=np.array(["F", "M"] * 6),
        test_age_years=np.full(12, 3),
    )
    page = tmp_path / "page.html"
    arguments = ["bundle", "evaluate", str(trained.folder), "--data", str(data), "--engine", "torch"]
    assert run([*arguments, "--json", "--html", str(page)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"auroc", "accuracy", "f1", "n", "precision", "recall", "specificity", "auprc", "ece"} <= set(document)
    assert document["n"] == 12
    (score,) = document["scores"]
    assert score["threshold"] == load_bundle(trained.folder).manifest.scores[0].threshold
    assert sum(score["confusion"].values()) == 12
    assert {(g["attribute"], g["value"], g["n"]) for g in score["subgroups"]} >= {("sex", "F", 6), ("sex", "M", 6)}
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 4
    assert "Not for clinical use" in html
    assert "http" not in html.replace("http-equiv", "")
    assert run(arguments) == 0
    assert "auroc" in capsys.readouterr().out


def test_recorded_figures_are_those_of_the_command_in_metrics_and_card(
    trained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(trained.folder, tmp_path / "copy")
    path = tmp_path / "copy" / "training" / "metrics.json"
    before = json.loads(path.read_text())
    data = write_films(tmp_path / "films.npz", train=0, val=14)
    arguments = ["bundle", "evaluate", str(tmp_path / "copy"), "--data", str(data), "--engine", "torch", "--record"]
    assert run([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["scores"][0]
    after = json.loads(path.read_text())
    assert after["validation"]["n"] == 14
    assert after["validation"]["figures"] == said["figures"]
    assert after["validation"]["engine"].startswith("torch f32")
    assert {name: after[name] for name in before if name != "validation"} == {
        name: before[name] for name in before if name != "validation"
    }
    assert f"| auroc | {said['figures']['auroc']:.3f}" in (tmp_path / "copy" / "docs" / "README.md").read_text()
    everything = write_films(tmp_path / "all.npz", train=0, val=0, test=6)
    assert run([*arguments[:4], str(everything), *arguments[5:]]) == 0
    assert json.loads(path.read_text())["test"]["n"] == 6


def test_label_out_of_range_is_one_sentence_and_exit_code_2(
    trained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_films(tmp_path / "films.npz", train=0, val=0, test=4, test_labels=np.array([0, 1, 5, 0]))
    assert run(["bundle", "evaluate", str(trained.folder), "--data", str(data)]) == 2
    assert capsys.readouterr().err == (
        "wetread: films.npz: test_labels holds 5; expected the numbers 0 (absent) and 1 (present)\n"
    )
