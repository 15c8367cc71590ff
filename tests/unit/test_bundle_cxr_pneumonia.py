"""The pneumonia bundles as shipped: their figures on the data beside the checkout, the runner of MONAI, their cards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.bundle import ConfigWorkflow

from learning import SHIPPED
from wetread.bundles import load_bundle
from wetread.bundles.bundle import file_sha256
from wetread.guard.appearance import picture, read_appearance
from wetread.infer.configs.config import InferenceConfig
from wetread.learn.evaluate import evaluate
from wetread.learn.measured import HowRead
from wrong_films import REAL_FILMS, SLICES, drawn, noise, real_film, slices, spoiled

DATA = Path(__file__).parents[3] / "shared" / "data" / "pneumoniamnist" / "trainval.npz"
NAMES = ["cxr_pneumonia", "cxr_pneumonia_vit", "cxr_pneumonia_pair"]
needs_data = pytest.mark.skipif(not DATA.is_file(), reason=f"{DATA.name} of PneumoniaMNIST is not beside the checkout")


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_those_of_the_manifest_and_small(name: str) -> None:
    bundle = load_bundle(SHIPPED / name)
    bundle.check_weights()
    assert (bundle.folder / bundle.manifest.weights[0].path).stat().st_size < 5_000_000


@pytest.mark.parametrize("name", NAMES)
def test_research_only_children_only_frontal_only(name: str) -> None:
    manifest = load_bundle(SHIPPED / name).manifest
    assert not manifest.clinical_use
    assert (manifest.patient.age_years.min, manifest.patient.age_years.max) == (1, 5)
    assert manifest.patient.unknown_age == "reject"
    (film,) = manifest.inputs
    assert (film.kind, film.view_position, film.unknown_view) == ("radiograph", ("AP",), "reject")
    assert manifest.scores[0].calibrated
    assert any("clinical decisions" in what for what in manifest.not_for)


@pytest.mark.parametrize("name", NAMES)
def test_monais_own_runner_gives_the_golden_answer(name: str, tmp_path: Path) -> None:
    folder = SHIPPED / name
    workflow = ConfigWorkflow(
        str(folder / "configs" / "inference.json"),
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(folder),
        output_dir=str(tmp_path),
    )
    workflow.initialize()
    workflow.run()
    _, said = (tmp_path / "predictions.csv").read_text().strip().rsplit(",", 1)
    stored = json.loads((folder / "golden" / "scores.json").read_text())["scores"][0]
    assert float(said) == pytest.approx(stored, abs=1e-5)


@pytest.mark.shared_data
@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_guard_refuses_95_of_100_wrong_films_and_at_most_5_of_100_children(name: str) -> None:
    known = read_appearance(load_bundle(SHIPPED / name))
    assert known is not None
    with np.load(DATA) as archive:
        children = list(archive["val_images"].astype(np.float32) / 255)
    wrong = spoiled(children) | noise(100) | drawn(100)
    wrong |= {what: slices(files) for what, files in SLICES.items()}
    wrong["ankle (real)"] = [real_film("RG3_UNCR.dcm")]

    def refused(films: Sequence[npt.NDArray[np.float32]]) -> float:
        indices = known.indices(np.stack([picture(film) for film in films]))
        return float(np.any([values > known.limit[index] for index, values in indices.items()], axis=0).mean())

    assert refused(children) <= 0.05
    shares = {what: refused(films) for what, films in wrong.items()}
    assert np.mean(list(shares.values())) >= 0.95
    assert min(shares.values()) >= 0.9, shares


@pytest.mark.parametrize("name", NAMES)
def test_guard_does_not_tell_an_adults_chest_from_a_childs(name: str) -> None:
    """Written down because it is so: view and age in the header are what keeps adults out."""
    known = read_appearance(load_bundle(SHIPPED / name))
    assert known is not None
    assert not known.unlikeness(real_film(REAL_FILMS["adult chest, PA (real)"])).unusual


@pytest.mark.shared_data
@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_figures_of_the_model_card_are_what_the_engine_measures(name: str, tmp_path: Path) -> None:
    bundle = load_bundle(SHIPPED / name)
    metrics = json.loads((bundle.folder / "training" / "metrics.json").read_text())
    assert metrics["data"]["sha256"] == file_sha256(DATA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wetread.learn.measures.RESAMPLES", 5)
        document = evaluate(bundle, DATA, HowRead(tmp_path)).document()
    assert document["data"]["part"] == "val"  # type: ignore[index]
    assert document["engine"].startswith("openvino f32")  # type: ignore[attr-defined]
    assert document["n"] == 524
    for figure in ("auroc", "accuracy", "recall", "specificity", "f1"):
        assert document[figure] == pytest.approx(metrics["validation"]["figures"][figure], abs=0.002), figure
    assert document["auroc"] > 0.99  # type: ignore[operator]
    assert document["seconds_per_image"] < 0.2  # type: ignore[operator]


def test_pair_says_the_mean_of_what_the_two_say() -> None:
    film = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    said = {}
    for name in NAMES:
        bundle = load_bundle(SHIPPED / name)
        config = InferenceConfig(bundle)
        network = config.make_network(bundle.manifest.weights[0])
        scale = config.config["calibration"]
        said[name] = (network(film), scale["temperature"], scale["offset"])
    mean = sum(logit / temperature + offset for logit, temperature, offset in list(said.values())[:2]) / 2
    torch.testing.assert_close(said["cxr_pneumonia_pair"][0], mean)


@pytest.mark.parametrize("name", NAMES)
def test_card_says_what_the_metrics_say(name: str) -> None:
    metrics = json.loads((SHIPPED / name / "training" / "metrics.json").read_text())
    card = (SHIPPED / name / "docs" / "README.md").read_text(encoding="utf-8")
    for figure, value in metrics["validation"]["figures"].items():
        assert f"| {figure} | {value:.3f}" in card
    assert metrics["command"] in card
    assert "CC BY 4.0" in card
