"""Cross-validation: no case is judged by a network, a start or a threshold that it had a part in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from learning import settings, small_bundle, write_films
from wetread.bundles import Bundle, load_bundle
from wetread.cli.main import run
from wetread.errors import DataUnusable, Misconfigured
from wetread.learn import crossvalidate as module
from wetread.learn.average import average
from wetread.learn.crossvalidate import Plan, cross_validate, make_plan
from wetread.learn.evaluate import evaluate
from wetread.learn.measured import HowRead
from wetread.learn.settings import TrainingSettings
from wetread.learn.splits import ALIKE

pytestmark = pytest.mark.usefixtures("few_draws")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a test part, which nobody may touch."""
    patients = {"train_patients": np.arange(40) // 2, "val_patients": 100 + np.arange(8) // 2}
    return write_films(tmp_path_factory.mktemp("data") / "films.npz", train=40, val=8, test=8, **patients)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return {name: small_bundle(folder / name) for name in ("first", "second", "pair")}


@pytest.fixture(scope="module")
def given(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingSettings:
    return settings(data, tmp_path_factory.mktemp("folds") / "out", epochs=1, folds=2)


@pytest.fixture(scope="module")
def plan(bundles: dict[str, Bundle], given: TrainingSettings) -> Plan:
    """After ``first`` was cross-validated."""
    cross_validate(bundles["first"], given)
    return make_plan(bundles["first"], given)


def test_every_case_of_train_and_val_is_left_out_once_with_its_patient(plan: Plan) -> None:
    assert sorted(index for fold in plan.left_out for index in fold) == list(range(48))
    assert not any(case.name.startswith("test") for case in plan.cases)
    for number in (1, 2):
        parts, outside = plan.material(number).parts, plan.fold(number)
        inside = [case for part in parts.values() for case in part]
        assert not {case.patient for case in outside} & {case.patient for case in inside}
        assert not {case.patient for case in parts["train"]} & {case.patient for case in parts["val"]}
        assert len(inside) + len(outside) == 48


def test_films_of_nobody_that_look_alike_stay_in_one_fold(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    data = write_films(tmp_path / "films.npz", train=40, val=20)
    arrays = dict(np.load(data))
    arrays["val_images"][:10] = np.clip(arrays["train_images"][:10].astype(int) + 3, 0, 255).astype(np.uint8)
    arrays["val_labels"][:10] = arrays["train_labels"][:10]
    np.savez(data, **arrays)
    made = make_plan(bundles["first"], settings(data, tmp_path, folds=2))
    fold_of = {index: number for number, fold in enumerate(made.left_out) for index in fold}
    assert ALIKE < 1
    assert all(fold_of[n] == fold_of[40 + n] for n in range(10))


def test_figures_are_those_of_the_fold_networks_read_as_a_study_is(
    bundles: dict[str, Bundle], given: TrainingSettings, plan: Plan, tmp_path: Path
) -> None:
    crossed = cross_validate(bundles["first"], given)
    (score,) = crossed.scores
    assert (crossed.n, score.pooled.n_positive) == (48, 24)
    for number, measured in enumerate(score.folds, start=1):
        fold = load_bundle(given.out / f"fold{number}" / "first")
        left_out = plan.fold(number)
        np.savez(
            tmp_path / "left.npz",
            test_images=np.stack([case.image for case in left_out]),
            test_labels=np.array([case.targets for case in left_out]),
        )
        said = evaluate(fold, tmp_path / "left.npz", HowRead(tmp_path / "cache", "torch")).scores[0]
        assert said.measured == measured
        assert measured.threshold == fold.manifest.scores[0].threshold
    spread = score.spread["auroc"]
    values = [measured.figures["auroc"].value for measured in score.folds]
    assert (spread.lowest, spread.highest, spread.mean) == (min(values), max(values), pytest.approx(np.mean(values)))
    called = sum(m.confusion[2] for m in score.folds), sum(m.confusion[1] for m in score.folds)
    assert (score.pooled.confusion[2], score.pooled.confusion[1]) == called


def test_fold_that_is_done_is_not_done_again_and_one_that_was_cut_off_is(
    bundles: dict[str, Bundle], given: TrainingSettings, plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained, real = [], module.train_on

    def cut_off(trainee: object, *arguments: object, **more: object) -> object:
        if trained:
            raise KeyboardInterrupt
        trained.append(trainee)
        return real(trainee, *arguments, **more)  # type: ignore[arg-type]

    elsewhere = replace(given, out=tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(module, "train_on", cut_off)
        with pytest.raises(KeyboardInterrupt):
            cross_validate(bundles["first"], elsewhere)
    before = (elsewhere.out / "fold1" / "first.json").read_bytes()
    again = cross_validate(bundles["first"], elsewhere)
    assert (elsewhere.out / "fold1" / "first.json").read_bytes() == before
    assert again.scores[0].pooled == cross_validate(bundles["first"], given).scores[0].pooled


def test_start_and_mean_are_those_of_the_same_fold(
    bundles: dict[str, Bundle], given: TrainingSettings, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts, real = [], module.train_on

    def seen(trainee: object, *arguments: object, **more: object) -> object:
        starts.append(trainee.start.folder)  # type: ignore[attr-defined]
        return real(trainee, *arguments, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "train_on", seen)
        second = cross_validate(bundles["second"], replace(given, start_from="first"))
    assert starts == [given.out / "fold1" / "first", given.out / "fold2" / "first"]
    pair = cross_validate(bundles["pair"], given, members=("first", "second"))
    first = cross_validate(bundles["first"], given)
    for number in (1, 2):
        folder = given.out / f"fold{number}"
        scale, said = [], []
        for name, crossed in (("first", first), ("second", second), ("pair", pair)):
            calibration = json.loads((folder / name / "configs" / "inference.json").read_text())["calibration"]
            probability = crossed.folds[number - 1].answers[:, 0]
            scale.append(calibration)
            said.append(np.log(probability / (1 - probability)))
        mean = (said[0] + said[1]) / 2
        np.testing.assert_allclose(said[2], mean / scale[2]["temperature"] + scale[2]["offset"], atol=1e-4)


def test_start_that_is_not_in_the_folder_is_refused_and_said_how_to_get_it(
    bundles: dict[str, Bundle], data: Path, tmp_path: Path
) -> None:
    wanted = settings(data, tmp_path / "out", epochs=1, folds=2, start_from="first")
    with pytest.raises(Misconfigured, match=r"fold 1 of first is not in .*: cross-validate first into it first"):
        cross_validate(bundles["second"], wanted)


def test_folder_of_other_folds_or_settings_is_refused(
    bundles: dict[str, Bundle], given: TrainingSettings, plan: Plan
) -> None:
    with pytest.raises(Misconfigured, match="holds folds of other data, another seed"):
        cross_validate(bundles["first"], replace(given, seed=1))
    with pytest.raises(Misconfigured, match="is of another configuration, other settings"):
        cross_validate(bundles["first"], replace(given, epochs=2))


def test_fold_in_which_a_class_is_missing_stops_it_before_it_begins(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    labels = np.zeros((30, 1), np.uint8)
    labels[0] = 1
    data = write_films(tmp_path / "films.npz", train=30, val=0, train_labels=labels)
    with pytest.raises(DataUnusable, match=r"cases of the (train|val|left-out) \(fold \d\) part are without pneumonia"):
        cross_validate(bundles["first"], settings(data, tmp_path / "out", folds=2))


def test_command_writes_a_page_and_records_figures_in_the_card(
    bundles: dict[str, Bundle], given: TrainingSettings, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundles["first"]
    metrics_path = bundle.folder / "training" / "metrics.json"
    trained = given.out / "fold1" / "first" / "training" / "metrics.json"
    metrics_path.parent.mkdir()
    metrics_path.write_text(trained.read_text())
    arguments = ["bundle", "crossvalidate", str(bundle.folder), "--data", str(given.data), "--out", str(given.out)]
    arguments += ["--folds", "2", "--epochs", "1", "--batch-size", "16", "--threads", "1", "--record"]
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (score,) = document["scores"]
    assert (document["n"], len(score["folds"])) == (48, 2)
    metrics = json.loads(metrics_path.read_text())
    assert metrics["cross_validation"]["figures"] == score["figures"]
    assert metrics["cross_validation"]["spread"] == score["spread"]
    assert metrics["validation"] == json.loads(trained.read_text())["validation"]
    card = (bundle.folder / "docs" / "README.md").read_text(encoding="utf-8")
    assert f"{score['figures']['auroc']:.3f} ({score['intervals_95']['auroc'][0]:.3f}" in card
    assert f"auroc {score['spread']['auroc']['mean']:.3f} ± {score['spread']['auroc']['deviation']:.3f}" in card
    page = (given.out / "first.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert f"{score['spread']['auroc']['deviation']:.3f}" in page
    assert "http" not in page


def test_mean_of_bundles_that_are_calibrated_differently_is_refused(
    bundles: dict[str, Bundle], given: TrainingSettings, plan: Plan, tmp_path: Path
) -> None:
    first = load_bundle(given.out / "fold1" / "first")
    path = first.folder / "configs" / "train.json"
    content = path.read_text()
    other = small_bundle(tmp_path / "other")
    config = json.loads(content)
    config["operating_point"]["specificity"] = 0.5
    (other.folder / "configs" / "train.json").write_text(json.dumps(config))
    (other.folder / "models").mkdir(exist_ok=True)
    weights = load_file(first.folder / "models" / "model.safetensors")
    assert weights
    (other.folder / "models" / "model.safetensors").write_bytes(
        (first.folder / "models" / "model.safetensors").read_bytes()
    )
    manifest = json.loads((other.folder / "configs" / "wetread.json").read_text())
    manifest["weights"] = json.loads((first.folder / "configs" / "wetread.json").read_text())["weights"]
    (other.folder / "configs" / "wetread.json").write_text(json.dumps(manifest))
    wanted = replace(given, out=tmp_path / "out", folds=0)
    with pytest.raises(Misconfigured, match="first and other are calibrated for different operating points"):
        average(bundles["pair"], [first, load_bundle(other.folder)], wanted, plan.material(1))
