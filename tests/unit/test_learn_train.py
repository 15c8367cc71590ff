"""Training: the same seed gives the same network, a kill costs nothing, and what comes out can be installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from learning import SHIPPED, settings, small_bundle, write_film, write_films, write_table
from network_bundles import threshold_bundle
from waiting import until
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.bundle import file_sha256
from wetread.cli.main import run
from wetread.errors import BundleInvalid, BundleNotTrusted, DataUnusable, Misconfigured, TrainingStopped
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.gate.golden import film_of
from wetread.infer.geometry import film_to_meta_tensor
from wetread.infer.model import open_model
from wetread.infer.program import in_memory
from wetread.learn.config import TrainConfig
from wetread.learn.settings import plain_value
from wetread.learn.train import train

pytestmark = pytest.mark.usefixtures("few_draws")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_films(tmp_path_factory.mktemp("data") / "films.npz")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundles") / "cxr")


@pytest.fixture(scope="module")
def finished(small: Bundle, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Four epochs without an interruption."""
    out = tmp_path_factory.mktemp("finished")
    return train(small, settings(data, out, epochs=4), command=("wetread", "bundle", "train")).bundle


def weights(bundle: Bundle) -> dict[str, torch.Tensor]:
    return load_file(bundle.folder / "models" / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_training_that_was_killed_goes_on_to_the_same_network(
    small: Bundle, data: Path, finished: Bundle, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "wetread", "bundle", "train", str(small.folder), "--data", str(data)]
    command += ["--out", str(tmp_path), "--epochs", "4", "--batch-size", "16", "--threads", "1"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / f".{small.name}.training" / "checkpoint.pt"
    until(lambda: checkpoint.is_file() or killed.poll() is not None, timeout_s=200, what="the first checkpoint")
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "it was over before it could be killed"
    assert not (tmp_path / small.name).exists()
    with pytest.raises(Misconfigured, match="interrupted: go on with --resume"):
        train(small, settings(data, tmp_path, epochs=4))
    resumed = train(small, settings(data, tmp_path, epochs=4, resume=True))
    assert "taken up again after epoch" in resumed.version.notes[-1]
    assert same(weights(resumed.bundle), weights(finished))
    assert resumed.bundle.manifest.scores[0].threshold == finished.manifest.scores[0].threshold
    assert not checkpoint.exists()


def test_another_seed_gives_another_network_and_checkpoints_of_one_are_refused_by_the_other(
    small: Bundle, data: Path, finished: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wetread.learn import train as module

    def cut_off(*_arguments: object, **_more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_version", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(small, settings(data, tmp_path, seed=5, epochs=4))
    with pytest.raises(TrainingStopped, match="belongs to a training with other data, settings"):
        train(small, settings(data, tmp_path, seed=6, epochs=4, resume=True))
    other = train(small, settings(data, tmp_path, seed=5, epochs=4, resume=True)).bundle
    assert not same(weights(other), weights(finished))


def test_new_version_can_be_installed_read_with_and_says_how_it_was_made(
    small: Bundle, finished: Bundle, data: Path
) -> None:
    assert finished.version == "0.1.0" if small.version == "0.0.1" else finished.version != small.version
    finished.check_weights()
    metrics = json.loads((finished.folder / "training" / "metrics.json").read_text())
    assert (metrics["seed"], metrics["command"], metrics["epochs"]) == (0, "wetread bundle train", 4)
    assert metrics["data"]["sha256"] == file_sha256(data)
    assert [entry["epoch"] for entry in metrics["history"]] == [1, 2, 3, 4]
    assert metrics["validation"]["n"] == 24
    score = finished.manifest.scores[0]
    assert score.calibrated
    assert score.threshold == metrics["calibration"]["threshold"]
    config = json.loads((finished.folder / "configs" / "inference.json").read_text())
    assert config["calibration"]["temperature"] == metrics["calibration"]["temperature"]
    card = (finished.folder / "docs" / "README.md").read_text()
    assert f"{metrics['validation']['figures']['auroc']:.3f}" in card
    assert card.count("<!-- figures:") == 1
    assert (finished.folder / "training" / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


def test_golden_answer_is_the_new_networks_own(finished: Bundle, tmp_path: Path) -> None:
    model = open_model(finished, engine="torch", cache_folder=tmp_path)
    model.close()
    path = finished.folder / "golden" / "scores.json"
    assert 0.0 < json.loads(path.read_text())["scores"][0] < 1.0


def test_network_learns_what_is_in_the_films(small: Bundle, data: Path, tmp_path: Path) -> None:
    trained = train(small, settings(data, tmp_path, epochs=15, learning_rate=0.01))
    assert trained.version.validation is not None
    assert trained.version.validation.figures["auroc"].value > 0.9
    history = trained.version.history
    assert history[-1]["loss"] < history[0]["loss"]


def test_training_prepares_films_as_a_read_does(small: Bundle) -> None:
    film = np.random.default_rng(0).random((90, 61)).astype(np.float32)
    read = in_memory(InferenceConfig(small).resolved(InferenceConfig(small).parser(), "preprocessing"))
    config = TrainConfig(small, settings(Path(), Path()))
    item = {"image": film_to_meta_tensor(film_of(film, label="film")), "label": torch.zeros(1)}
    config.open([item] * 64, [item])
    for part in ("train", "validate"):
        learned = config.made(f"{part}::preprocessing")
        expected = read({"image": item["image"]})["image"]
        assert expected.shape == (1, 28, 28)
        torch.testing.assert_close(learned(item)["image"].as_tensor(), expected.as_tensor())


def test_both_shipped_bundles_learn_with_what_they_read_with() -> None:
    for name in ("cxr_pneumonia", "cxr_pneumonia_vit"):
        configs = SHIPPED / name / "configs"
        train_config, inference = (json.loads((configs / f"{c}.json").read_text()) for c in ("train", "inference"))
        assert train_config["network_def"] == inference["network_def"]
        prepared = inference["preprocessing"]["transforms"][1:]
        assert train_config["train"]["preprocessing"]["transforms"] == prepared
        assert train_config["validate"]["preprocessing"]["transforms"] == prepared


def test_loss_that_is_no_number_stops_with_the_step_and_the_last_good_checkpoint(
    small: Bundle, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingStopped, match=r"the loss is (nan|inf) at step \d+ \(epoch \d+\); (none was|the last)"):
        train(small, settings(data, tmp_path, optimizer="sgd", learning_rate=1e30, schedule="constant", epochs=3))
    assert not (tmp_path / small.name).exists()


def test_last_step_that_undoes_the_network_writes_no_version(small: Bundle, data: Path, tmp_path: Path) -> None:
    given = {"optimizer": "sgd", "learning_rate": 1e30, "schedule": "constant", "epochs": 1, "batch_size": 48}
    with pytest.raises(TrainingStopped, match=r"network \(epoch 1\) answers .* no number, .* Lower the learning rate"):
        train(small, settings(data, tmp_path, **given))
    assert not (tmp_path / small.name).exists()


def test_frozen_parameters_stay_until_they_are_let_go(
    small: Bundle, finished: Bundle, data: Path, tmp_path: Path
) -> None:
    given = {"start_from": finished.name, "freeze": r"^features\."}
    frozen = train(small, settings(data, tmp_path / "a", **given), start=finished)
    assert any(f"began with {len(weights(finished))} of" in note for note in frozen.version.notes)
    before, after = weights(finished), weights(frozen.bundle)
    convolution = "features.layer1.0.conv1.weight"
    torch.testing.assert_close(after[convolution], before[convolution], atol=1e-6, rtol=0)  # of an average of itself
    assert (after["head.weight"] - before["head.weight"]).abs().max() > 1e-4
    thawed = train(small, settings(data, tmp_path / "b", **given, unfreeze_after=1), start=finished)
    assert (weights(thawed.bundle)[convolution] - before[convolution]).abs().max() > 1e-4


@pytest.mark.parametrize("pattern", ["no such parameter", "."])
def test_freezing_nothing_or_everything_is_refused(small: Bundle, data: Path, tmp_path: Path, pattern: str) -> None:
    with pytest.raises(Misconfigured, match=r"fits (none|all) of the network's"):
        train(small, settings(data, tmp_path, freeze=pattern))


def test_weights_of_another_network_start_nothing(small: Bundle, data: Path, tmp_path: Path) -> None:
    other = threshold_bundle(tmp_path / "other")
    with pytest.raises(Misconfigured, match="none of the weights of other fit the network"):
        train(small, settings(data, tmp_path, start_from="other"), start=other)


def test_early_stopping_ends_training_and_keeps_the_best_epoch(small: Bundle, data: Path, tmp_path: Path) -> None:
    given = settings(data, tmp_path, epochs=30, patience=2, learning_rate=1e-9, more={"keep": "best"})
    trained = train(small, given)
    assert len(trained.version.history) < 30
    figures = [entry["val_auroc"] for entry in trained.version.history]
    assert trained.version.kept_epoch == 1 + int(np.argmax(figures))
    assert len(figures) == trained.version.kept_epoch + 2


@pytest.mark.parametrize(
    "given",
    [
        {"loss": "focal", "optimizer": "adam", "schedule": "cosine"},
        {"loss": "dice", "optimizer": "sgd", "schedule": "step"},
        {"loss": "mse", "optimizer": "adamw", "schedule": "constant"},
    ],
    ids=lambda given: given["loss"],
)
def test_losses_optimizers_and_schedules_can_be_chosen(
    small: Bundle, data: Path, tmp_path: Path, given: dict[str, Any]
) -> None:
    trained = train(small, settings(data, tmp_path, **given))
    first, last = trained.version.history[0], trained.version.history[-1]
    assert np.isfinite([first["loss"], last["loss"]]).all()
    assert (first["learning_rate"] == last["learning_rate"]) == (given["schedule"] == "constant")


def test_cross_validation_measures_every_case_by_a_network_that_never_saw_it(
    small: Bundle, data: Path, tmp_path: Path
) -> None:
    trained = train(small, settings(data, tmp_path, epochs=1, folds=2))
    crossed = trained.version.cross_validation
    assert crossed is not None
    assert (crossed.n, crossed.n_positive) == (48 + 24, 36)
    assert json.loads((trained.bundle.folder / "training" / "metrics.json").read_text())["cross_validation"]["n"] == 72


def test_patients_in_two_parts_stop_training_before_it_begins(small: Bundle, tmp_path: Path) -> None:
    patients = {"train_patients": np.arange(48), "val_patients": np.arange(24) + 40}
    data = write_films(tmp_path / "films.npz", **patients)
    with pytest.raises(DataUnusable, match="8 patients are in both the train and the val part"):
        train(small, settings(data, tmp_path / "out"))


def test_validation_of_one_class_stops_training_before_it_begins(small: Bundle, tmp_path: Path) -> None:
    data = write_films(tmp_path / "films.npz", val_labels=np.ones((24, 1), np.uint8))
    with pytest.raises(DataUnusable, match="all 24 cases of the val part are with pneumonia"):
        train(small, settings(data, tmp_path / "out"))


def test_fewer_cases_than_one_batch_are_refused(small: Bundle, tmp_path: Path) -> None:
    data = write_films(tmp_path / "films.npz", train=10)
    with pytest.raises(DataUnusable, match="10 training cases do not fill one batch of 16"):
        train(small, settings(data, tmp_path / "out"))


def test_films_of_mixed_sizes_are_learned_from_where_the_bundle_resizes_and_refused_where_not(
    small: Bundle, tmp_path: Path
) -> None:
    for number in range(8):
        write_film(tmp_path / f"{number}.dcm", side=20 + number, patient=f"P{number}")
    write_table(
        tmp_path, [{"image": f"{n}.dcm", "label": n % 2, "part": "train" if n < 4 else "val"} for n in range(8)]
    )
    given = settings(tmp_path, tmp_path / "out", batch_size=2, epochs=1)
    assert train(small, given).bundle.version
    raw = small_bundle(tmp_path / "raw")
    path = raw.folder / "configs" / "train.json"
    config = json.loads(path.read_text())
    config["train"]["preprocessing"]["transforms"] = []
    config["train"]["sampler"]["weights"] = "$torch.ones(len(@train::dataset))"
    path.write_text(json.dumps(config))
    with pytest.raises(DataUnusable, match="images of mixed sizes or types cannot form a batch"):
        train(load_bundle(raw.folder), given)


def test_bundle_without_a_train_config_gets_one(tmp_path: Path, data: Path) -> None:
    bundle = small_bundle(tmp_path / "plain", train_config=False)
    trained = train(bundle, settings(data, tmp_path / "out"))
    assert trained.version.history[-1]["epoch"] == 2
    assert "val_auroc" in trained.version.history[-1]


def test_segmentation_learns_from_nifti_and_keeps_its_golden_case(tmp_path: Path) -> None:
    bundle = threshold_bundle(tmp_path / "threshold")
    random = np.random.default_rng(0)
    rows = []
    for number in range(6):
        image = random.random((8, 8, 8)).astype(np.float32)
        for name, array in (("i", image), ("m", (image > 0.6).astype(np.uint8))):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}{number}.nii.gz")
        rows.append({"image": f"i{number}.nii.gz", "label": f"m{number}.nii.gz", "patient": number})
    write_table(tmp_path, rows)
    given = settings(tmp_path, tmp_path / "out", loss="dice", optimizer="sgd", learning_rate=0.5, epochs=8)
    trained = train(bundle, given)
    figures = [entry["val_dice"] for entry in trained.version.history]
    assert figures[-1] > figures[0]
    assert trained.bundle.manifest.golden is not None
    open_model(trained.bundle, engine="torch", cache_folder=tmp_path / "cache").close()


def test_train_config_with_code_of_its_own_needs_trust(tmp_path: Path, data: Path) -> None:
    bundle = small_bundle(tmp_path / "code")
    path = bundle.folder / "configs" / "train.json"
    config = json.loads(path.read_text())
    config["run"] = ["$__import__('os').system('true')"]
    path.write_text(json.dumps(config))
    with pytest.raises(BundleNotTrusted, match="training code needs trusted code"):
        train(load_bundle(bundle.folder), settings(data, tmp_path / "out"))


def test_shipped_train_configs_need_no_trust() -> None:
    from wetread.bundles.static_check import examine

    for name in ("cxr_pneumonia", "cxr_pneumonia_vit"):
        assert examine(SHIPPED / name) == []


def test_settings_the_config_does_not_have_are_refused_with_those_it_has(
    small: Bundle, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(Misconfigured, match=r"no such id; plain values are .*mixup"):
        train(small, settings(data, tmp_path, more={"mixupp": 0.2}))
    with pytest.raises(Misconfigured, match="only plain values are taken"):
        plain_value("loss=$print(1)")
    assert plain_value("mixup=0.2") == ("mixup", 0.2)


def test_weights_that_do_not_fit_the_network_are_refused(small: Bundle, finished: Bundle, tmp_path: Path) -> None:
    broken = small_bundle(tmp_path / "wide", channels=[8, 8, 8, 8])
    target = broken.folder / "models" / "model.safetensors"
    save_file(weights(finished), target)
    path = broken.folder / "configs" / "wetread.json"
    manifest = json.loads(path.read_text())
    manifest["weights"][0]["sha256"] = file_sha256(target)
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleInvalid, match="the weights do not fit"):
        open_model(load_bundle(broken.folder), engine="torch", cache_folder=tmp_path / "cache")


def test_output_that_is_there_already_is_not_touched(small: Bundle, data: Path, tmp_path: Path) -> None:
    (tmp_path / small.name).mkdir()
    with pytest.raises(Misconfigured, match="is there already"):
        train(small, settings(data, tmp_path))


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "fast"])
def test_learning_rate_that_teaches_nothing_is_wrong_usage(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["bundle", "train", "cxr_pneumonia", "--data", "any.npz", f"--learning-rate={rate}"])
    assert ended.value.code == 2
    assert "expected a number above 0" in capsys.readouterr().err
