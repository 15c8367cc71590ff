"""A film that does not look like those a bundle was trained on is refused, with what is unusual about it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from film_bundle import write_film_bundle
from films import SHAPE, chest, write_film
from wetread.bundles import Bundle, load_bundle
from wetread.bundles.manifest import Manifest
from wetread.cli.main import run
from wetread.errors import BundleInvalid, DataUnusable, NotIntended
from wetread.guard.appearance import SAID, Appearance, picture, read_appearance
from wetread.guard.guard import check_input
from wetread.images.model_input import read_image
from wetread.learn.appearance import Learned, learn_appearance, write_guard
from wetread.learn.settings import TrainingSettings
from wetread.learn.train import train
from wetread.records.job import ChosenSeries, JobSpec, ReadOptions
from wrong_films import Grey, drawn, noise, spoiled

SEED = 3


def children(count: int, *, seed: int) -> list[Grey]:
    """The phantom chest, each time a little otherwise: place, contrast, grain."""
    random = np.random.default_rng(seed)
    films = []
    for _ in range(count):
        moved = np.roll(chest(), tuple(random.integers(-3, 4, 2)), (0, 1))
        grey = moved ** random.uniform(0.8, 1.25) + random.normal(0, 0.02, SHAPE)
        films.append(np.clip(grey, 0, 1).astype(np.float32))
    return films


@pytest.fixture(scope="module")
def learned() -> Learned:
    return learn_appearance(children(200, seed=1), seed=SEED, validation=children(200, seed=2))


@pytest.fixture(scope="module")
def known(learned: Learned) -> Appearance:
    return learned.appearance


@pytest.fixture
def guarded(learned: Learned, tmp_path: Path) -> Bundle:
    folder = tmp_path / "guarded"
    write_film_bundle(folder)
    write_guard(folder, learned)
    return load_bundle(folder)


def checked(bundle: Bundle, folder: Path, options: ReadOptions | None = None) -> tuple[str, ...]:
    """What the guard says about the one film in ``folder``."""
    from wetread.images.folder import scan_folder

    study = scan_folder(folder).studies[0]
    chosen = ChosenSeries("film", study.series[0], "")
    spec = JobSpec("1", study, (chosen,), bundle.folder, "", folder, options=options or ReadOptions())
    return check_input(spec, bundle, {"film": read_image(study.series[0], bundle.manifest.inputs[0])})


def test_a_picture_is_the_mean_of_what_each_pixel_covers_in_the_middle_square() -> None:
    small = np.random.default_rng(0).random((28, 28)).astype(np.float32)
    scaled = (small - small.min()) / np.ptp(small)
    assert np.allclose(picture(small), scaled, atol=1e-6)
    assert np.allclose(picture(np.kron(small, np.ones((5, 5)))), scaled, atol=1e-6)
    beside = np.pad(np.kron(small, np.ones((3, 3))), ((0, 0), (20, 20)), constant_values=9.0)
    assert np.allclose(picture(beside), scaled, atol=1e-6)
    covered = np.repeat(np.arange(42.0), 2).reshape(28, 3).mean(1)  # a pixel and a half each
    row = picture(np.tile(np.arange(42.0), (42, 1)))[0]
    assert np.allclose(row, (covered - covered[0]) / np.ptp(covered), atol=1e-6)


def test_films_like_those_it_was_made_from_are_accepted(learned: Learned, known: Appearance) -> None:
    assert learned.left_out <= 0.05
    assert learned.validation is not None
    assert learned.validation <= 0.05
    assert np.median([known.unlikeness(film).value for film in children(50, seed=5)]) < 0.5


def test_at_least_95_of_100_wrong_films_of_every_kind_are_refused(known: Appearance) -> None:
    wrong = spoiled(children(40, seed=4)) | noise(40) | drawn(40)
    refused = {name: np.mean([known.unlikeness(film).value > 1 for film in films]) for name, films in wrong.items()}
    assert len(refused) == 14
    assert {name: share for name, share in refused.items() if share < 0.95} == {}


def test_the_child_passes_and_the_same_film_upside_down_is_refused_in_words(guarded: Bundle, tmp_path: Path) -> None:
    write_film(tmp_path / "child")
    assert checked(guarded, tmp_path / "child") == ()
    write_film(tmp_path / "down", upright=chest()[::-1])
    with pytest.raises(NotIntended, match=r"F1\.dcm \(instance 1\): does not look like the films .*upside down"):
        checked(guarded, tmp_path / "down")


def test_a_film_stored_upside_down_that_says_so_is_no_wrong_film(guarded: Bundle, tmp_path: Path) -> None:
    write_film(tmp_path / "child", orientation=("R", "H"))
    assert checked(guarded, tmp_path / "child") == ()


def test_what_is_written_about_the_patient_is_named_before_what_the_film_looks_like(
    guarded: Bundle, tmp_path: Path
) -> None:
    write_film(tmp_path / "down", upright=chest()[::-1], birth_date="19600101")
    with pytest.raises(NotIntended, match="the patient is 66 years old"):
        checked(guarded, tmp_path / "down")
    both = checked(guarded, tmp_path / "down", ReadOptions(outside_intended_use=True))
    assert len(both) == 2
    assert "years old" in both[0]
    assert "does not look like" in both[1]


def test_statistics_that_are_not_those_of_the_manifest_stop_the_read(guarded: Bundle) -> None:
    path = guarded.folder / "models" / "appearance.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(BundleInvalid, match=r"guard\.sha256 of the manifest"):
        read_appearance(guarded)
    path.unlink()
    with pytest.raises(BundleInvalid, match="is missing"):
        read_appearance(guarded)


def test_a_file_that_holds_no_statistics_is_named(guarded: Bundle) -> None:
    from wetread.bundles.bundle import file_sha256

    config = guarded.folder / "configs" / "wetread.json"
    content = json.loads(config.read_text())
    content["guard"] = {"statistics": "models/model.safetensors", "sha256": ""}
    content["guard"]["sha256"] = file_sha256(guarded.folder / "models" / "model.safetensors")
    config.write_text(json.dumps(content))
    with pytest.raises(BundleInvalid, match=r"model\.safetensors has the version None"):
        read_appearance(load_bundle(guarded.folder))


@pytest.fixture
def shipped(tmp_path: Path) -> Bundle:
    """A copy of the CNN for children's films."""
    folder = tmp_path / "cxr_pneumonia"
    shutil.copytree(Path(__file__).parents[2] / "monai_bundles" / "cxr_pneumonia", folder)
    return load_bundle(folder)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"mean": np.zeros(100, np.float32)}, r"mean has the shape \(100,\), films of this guard need \(784,\)"),
        ({"out": np.full(64, np.nan, np.float32)}, "out holds values that are not finite"),
        ({"limit": dict.fromkeys(SAID, -99.0)}, "the limit of grey is -99"),
        (None, "is missing; guard.statistics of the manifest names it"),
    ],
    ids=["usable", "other size", "not finite", "limit below middle", "missing"],
)
def test_check_says_what_is_wrong_with_a_guard(
    shipped: Bundle, changed: dict[str, Any] | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = read_appearance(shipped)
    assert known is not None
    write_guard(shipped.folder, Learned(replace(known, **(changed or {})), 200, 0.0))
    if changed is None:
        (shipped.folder / "models" / "appearance.safetensors").unlink()
    code = run(["bundle", "check", str(shipped.folder), "--files-only", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert code == (1 if said else 0), report
    if said:
        assert re.search(said, report["problems"][0])
        assert "wetread bundle guard" in report["problems"][0]
    else:
        assert report["guard"] == "usable; takes the golden film"


def test_check_finds_a_guard_that_refuses_the_bundles_own_golden_film(
    shipped: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shipped.folder / "golden" / "film.png"
    with Image.open(path) as film:
        film.transpose(Image.Transpose.ROTATE_180).save(path)
    assert run(["bundle", "check", str(shipped.folder), "--files-only", "--json"]) == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem.startswith("guard: it refuses the bundle's own golden film: it looks upside down")


def test_check_says_that_a_bundle_of_films_has_no_guard(shipped: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    path = shipped.folder / "configs" / "wetread.json"
    manifest = json.loads(path.read_text())
    del manifest["guard"]
    path.write_text(json.dumps(manifest))
    assert run(["bundle", "check", str(shipped.folder), "--files-only", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["guard"] == "none: no film is refused for what it looks like"


def test_the_same_films_and_seed_give_the_same_file_to_the_byte(learned: Learned) -> None:
    again = learn_appearance(children(200, seed=1), seed=SEED)
    assert again.appearance.dump() == learned.appearance.dump()


def test_too_few_films_make_no_guard() -> None:
    with pytest.raises(DataUnusable, match=r"at least 100 training films .* got 99"):
        learn_appearance(children(99, seed=1), seed=SEED)


def test_a_guard_for_volumes_is_refused(tmp_path: Path) -> None:
    content = json.loads(write_film_bundle(tmp_path / "b").manifest.model_dump_json())
    content["inputs"][0]["kind"] = "volume"
    content["guard"] = {"statistics": "x", "sha256": "y"}
    with pytest.raises(ValueError, match="guard, explain and uncertainty look at films"):
        Manifest.model_validate(content)


def test_the_command_puts_a_guard_into_a_bundle_that_then_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_film_bundle(tmp_path / "bundles" / "film_reader")
    films = np.stack([picture(film) for film in children(150, seed=6)])
    labels = np.arange(150) % 2
    np.savez(tmp_path / "films.npz", train_images=films, train_labels=labels, val_images=films, val_labels=labels)
    bundle = str(tmp_path / "bundles" / "film_reader")
    assert run(["bundle", "guard", bundle, "--data", str(tmp_path / "films.npz"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["films"] == 150
    assert said["false_rejection_validation"] <= 0.05
    assert said["digest"] == load_bundle(Path(bundle)).digest()
    write_film(tmp_path / "down", upright=1 - chest())
    with pytest.raises(NotIntended, match="does not look like"):
        checked(load_bundle(Path(bundle)), tmp_path / "down")


def test_a_training_ends_with_a_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from learning import small_bundle, write_films
    from wetread.learn import measures

    monkeypatch.setattr(measures, "RESAMPLES", 10)
    data = write_films(tmp_path / "films.npz", train=100, val=24)
    bundle = small_bundle(tmp_path / "cxr")
    settings = TrainingSettings(data=data, out=tmp_path / "out", epochs=1, batch_size=32, threads=1)
    trained = train(bundle, settings).bundle
    assert read_appearance(trained) is not None
    metrics = json.loads((trained.folder / "training" / "metrics.json").read_text())
    assert metrics["guard"]["films"] == 100
    assert "Guard: from 100 training films" in (trained.folder / "docs" / "README.md").read_text()
