"""Heat maps lie where they should on the film as it is stored, come from the weights, and reach card and viewers."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.transforms import CenterSpatialCropd, Compose, Resized, Rotated
from pydicom import dcmread
from scipy.stats import spearmanr
from torch import nn

from film_bundle import write_film_bundle
from films import HEART, STORED, write_film
from learning import SHIPPED
from wetread.bundles import Bundle, load_bundle
from wetread.errors import BundleInvalid
from wetread.images.film import read_radiograph
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.explain.explain import _way_back, explain
from wetread.infer.gate.golden import film_of, golden_film
from wetread.infer.geometry import film_to_meta_tensor
from wetread.infer.model import Model, open_model
from wetread.pipeline import process
from wetread.records.job import ChosenSeries, JobSpec
from wetread.records.radiograph import Radiograph

OCCLUSION = {"explain": {"method": "occlusion"}}
METHODS = [
    ("Grad-CAM", "cxr_pneumonia", {}),
    ("Grad-CAM++", "cxr_pneumonia", {"method": "gradcam++"}),
    ("attention rollout", "cxr_pneumonia_vit", {}),
    ("occlusion", "cxr_pneumonia", {"method": "occlusion"}),
    ("occlusion", "cxr_pneumonia_vit", {"method": "occlusion"}),
    ("occlusion", "cxr_pneumonia_pair", {}),
]


def shipped(name: str, **rule: Any) -> Bundle:
    """A bundle as shipped, its explanation changed."""
    bundle = load_bundle(SHIPPED / name)
    assert bundle.manifest.explain is not None
    changed = bundle.manifest.explain.model_copy(update=rule)
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"explain": changed}))


@pytest.fixture(autouse=True)
def _few_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wetread.infer.explain.occlusion._STEPS", 7)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def child() -> Radiograph:
    return golden_film(SHIPPED / "cxr_pneumonia" / "golden" / "film.png")


def opened(bundle: Bundle, cache: Path, engine: str = "torch") -> Model:
    return open_model(bundle, engine=engine, cache_folder=cache, threads=1)


@pytest.mark.parametrize("spacing_mm", [None, (0.7, 1.3)])
def test_cropping_and_resizing_are_undone_to_the_pixel(spacing_mm: tuple[float, float] | None) -> None:
    rows, columns = np.indices((90, 70))
    film = replace(film_of((rows / 100 + columns / 450).astype(np.float32), label="ramp"), spacing_mm=spacing_mm)
    steps = Compose([CenterSpatialCropd("image", (60, 42)), Resized("image", (20, 14), mode="area")])
    prepared = steps({"image": film_to_meta_tensor(film)})["image"]
    back = _way_back(prepared, film)(prepared[0].numpy())
    seen = (slice(15, 75), slice(14, 56))
    inner = (slice(17, 73), slice(16, 54))  # beyond the centres of the outermost pixels the border goes on
    assert np.allclose(back[inner], film.array[inner], atol=1e-5)
    outside = np.ones(back.shape, bool)
    outside[seen] = False
    assert not back[outside].any()
    assert (back[seen] > 0).all()


@pytest.mark.parametrize("orientation", STORED)
def test_map_lies_on_the_heart_however_the_film_is_stored(
    orientation: tuple[str, str], tmp_path: Path, cache: Path
) -> None:
    bundle = write_film_bundle(tmp_path / "film_reader", **OCCLUSION)
    film = read_radiograph(write_film(tmp_path / "film", orientation=orientation).series())
    model = opened(bundle, cache)
    (found,) = model.explain({"film": film})
    model.close()
    assert found.array.shape == film.stored_shape
    assert found.array.max() == 1.0
    heart = np.zeros(film.array.shape, bool)
    heart[HEART] = True
    on_heart = STORED[orientation](heart)
    centre = np.argwhere(found.array > 0.8).mean(0)
    assert np.abs(centre - np.argwhere(on_heart).mean(0)).max() < 3
    assert found.array[on_heart].mean() > 4 * found.array[~on_heart].mean()


@pytest.mark.parametrize(("name", "bundle_name", "rule"), METHODS)
def test_a_map_comes_from_the_weights(
    name: str,
    bundle_name: str,
    rule: dict[str, str],
    child: Radiograph,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Adebayo et al. 2018: a map that survives random weights shows the film, not the model.

    Random weights move a score so little that occlusion would show nothing at all: here it shows the least there is.
    """
    monkeypatch.setattr("wetread.infer.explain.occlusion._LEAST", 0.0)
    bundle = shipped(bundle_name, **rule)
    model = opened(bundle, cache)
    (trained,) = model.explain({"film": child})
    assert trained.method == name
    again = model.explain({"film": child})[0].array
    assert np.array_equal(trained.array, again)
    alike = [abs(_alike(trained.array, _with_random_weights(model, bundle, child, seed))) for seed in range(3)]
    model.close()
    assert np.mean(alike) < 0.5, alike


def _alike(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    return float(np.nan_to_num(spearmanr(one.ravel(), other.ravel()).statistic))


def _with_random_weights(model: Model, bundle: Bundle, film: Radiograph, seed: int) -> npt.NDArray[np.float32]:
    torch.manual_seed(seed)
    config = InferenceConfig(bundle)
    network = config.bare_network("network_def").eval()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.reset_parameters()
    program = replace(model._program, network=network)  # type: ignore[type-var]
    return explain(program, lambda: network, bundle.manifest, {"film": film})[0].array


def test_covered_films_are_asked_in_batches_and_say_what_each_alone_says(
    child: Radiograph, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(shipped("cxr_pneumonia_pair"), cache)
    asked: list[int] = []
    network = model._program.network  # type: ignore[union-attr]
    network.register_forward_pre_hook(lambda _, given: asked.append(len(given[0])))
    (together,) = model.explain({"film": child})
    assert asked == [50]  # 7 x 7 covers and the film without one
    monkeypatch.setattr("wetread.infer.several._VALUES_AT_ONCE", 1)
    (alone,) = model.explain({"film": child})
    assert asked == [50] + 50 * [1]
    model.close()
    assert np.allclose(together.array, alone.array, atol=1e-4)


@pytest.mark.parametrize("degrees", [0.0, 30.0])
def test_a_map_of_a_turned_input_lies_on_the_film_where_it_was(degrees: float) -> None:
    film = film_of(np.random.default_rng(0).random((90, 70), np.float32), label="noise")
    turned = Compose([Resized("image", (45, 35)), Rotated("image", np.radians(degrees), keep_size=True)])
    prepared = turned({"image": film_to_meta_tensor(film)})["image"]
    place = np.zeros(prepared.shape[1:], np.float32)
    place[30:33, 10:13] = 1.0
    back = _way_back(prepared, film)(place)
    row, column = np.argwhere(back > 0.5).mean(0)
    inverse = np.linalg.inv(film_to_meta_tensor(film).affine.numpy()) @ prepared.affine.numpy()
    assert np.allclose((row, column), (inverse @ [31, 11, 0, 1])[:2], atol=0.6)


def test_occlusion_says_the_same_with_another_engine(child: Radiograph, cache: Path) -> None:
    bundle = shipped("cxr_pneumonia", method="occlusion")
    maps = []
    for engine in ("torch", "openvino"):
        model = opened(bundle, cache, engine)
        assert model.identity.name == engine
        maps.append(model.explain({"film": child})[0].array)
        model.close()
    assert np.allclose(maps[0], maps[1], atol=1e-2)
    assert maps[0].max() == 1.0


@pytest.mark.parametrize(
    ("name", "rule", "said"),
    [
        ("cxr_pneumonia", {"layer": "features.layer9"}, "'features.layer9', which the network does not have"),
        ("cxr_pneumonia", {"layer": "head"}, "no planes that could be a map"),
        ("cxr_pneumonia", {"method": "rollout"}, "the network has no self-attention"),
    ],
)
def test_a_method_that_does_not_go_with_the_network_is_named(
    name: str, rule: dict[str, str], said: str, child: Radiograph, cache: Path
) -> None:
    model = opened(shipped(name, **rule), cache)
    with pytest.raises(BundleInvalid, match=said):
        model.explain({"film": child})
    model.close()


def read(tmp_path: Path, bundle: Bundle, cache: Path, *, upright: Any, **film: Any) -> Any:
    written = write_film(tmp_path / "film", upright=upright, **film)
    chosen = (ChosenSeries("film", written.series(), ""),)
    spec = JobSpec("1", written.study(), chosen, bundle.folder, bundle.digest(), tmp_path / "out", for_viewers=True)
    model = opened(bundle, cache)
    try:
        return process(spec, bundle, model, progress=lambda _stage, _share: None)
    finally:
        model.close()


def test_a_childs_film_gets_its_map_on_the_card_and_for_viewers(tmp_path: Path, child: Radiograph, cache: Path) -> None:
    upright = np.kron(child.array, np.ones((4, 4)))
    done = read(tmp_path, shipped("cxr_pneumonia"), cache, upright=upright, orientation=("R", "F"))
    assert [timing.stage for timing in done.timings] == ["images", "guard", "infer", "findings", "explain", "encode"]
    (file,) = done.files
    (finding,) = done.reading.findings
    assert (file.kind, file.name) == ("heatmap", finding.tracking_uid)
    heat = np.frombuffer(gzip.decompress(file.path.read_bytes()), np.uint8).reshape(112, 112)
    assert heat.max() == 255
    card = dcmread(next(r.path for r in done.results if r.kind == "SC"))
    assert "heat map" in card.DerivationDescription
    assert card.Columns == 1024
    grey, heated = card.pixel_array[40:552, :512], card.pixel_array[40:552, 512:]
    colour = np.ptp(heated.astype(int), axis=2)
    assert not np.ptp(grey[60:450, 60:450].astype(int), axis=2).any()
    hottest = np.unravel_index(colour.argmax(), colour.shape)
    on_screen = heat[:, ::-1]  # the film is stored mirrored, the card shows it as it hangs
    assert on_screen[int(hottest[0] / 512 * 112), int(hottest[1] / 512 * 112)] > 200


def test_where_nothing_speaks_for_the_score_there_is_no_map(tmp_path: Path, cache: Path) -> None:
    bundle = write_film_bundle(tmp_path / "film_reader", **OCCLUSION)
    flat = np.full((60, 60), 0.5)
    flat[0, 0] = 0.0
    done = read(tmp_path, bundle, cache, upright=flat)
    assert done.files == ()
    card = dcmread(next(r.path for r in done.results if r.kind == "SC"))
    assert "heat map" not in card.DerivationDescription
