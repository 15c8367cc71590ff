"""Bundles with the quirks of the Model Zoo run as they are, from a DICOM series to the answer they should give."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from phantoms import Phantom, write_series
from wetread.bundles import Bundle, load_bundle
from wetread.errors import BundleInvalid, OutputInvalid
from wetread.images.volume import read_volume
from wetread.infer.check import check_bundle
from wetread.infer.model import Model, open_model
from wetread.records.output import Boxes, Masks, ModelOutput, Scores
from wetread.records.volume import LabelMap, Volume
from zoo_catalogue import LOOKALIKES, MODALITIES
from zoo_lookalikes import write

ENGINES = ("torch", "openvino")
KNOWN = (
    "no_run_key",
    "yaml_itk_crop",
    "lists_added",
    "own_network",
    "hard_coded_cuda",
    "slices_2d",
    "array_transforms",
    "own_evaluator",
    "handler_postprocesses",
)
"""Their networks are a known threshold, on the source grid."""


@pytest.fixture(autouse=True)
def _own_process_for_each() -> Iterator[None]:
    """Bundles with scripts get a process each; here they get what makes one: nobody else's ``scripts``."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [n for n in sys.modules if n.partition(".")[0] == "scripts"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Phantom:
    folder = tmp_path_factory.mktemp("dicom")
    return write_series(folder, modality="CT", orientation="oblique", description="CT")


@pytest.fixture(scope="module")
def volume(phantom: Phantom) -> Volume:
    return read_volume(phantom.series(), min_slices=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def _open(name: str, folder: Path, cache: Path, engine: str = "torch") -> tuple[Bundle, Model]:
    there = (folder / name).is_dir()
    bundle = load_bundle(folder / name) if there else write(folder / name, LOOKALIKES[name]())
    return bundle, open_model(bundle, engine=engine, cache_folder=cache, threads=1)


def _run(name: str, folder: Path, cache: Path, volume: Volume, engine: str = "torch") -> ModelOutput:
    bundle, model = _open(name, folder, cache, engine)
    output = model.run({rule.name: volume for rule in bundle.manifest.inputs})
    model.close()
    return output


def _expected(volume: Volume) -> npt.NDArray[np.uint8]:
    return (volume.array > 200).astype(np.uint8) + (volume.array > 500)


def _dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", KNOWN)
def test_bundle_marks_what_its_network_marks(
    name: str, engine: str, tmp_path: Path, cache: Path, volume: Volume
) -> None:
    output = _run(name, tmp_path, cache, volume, engine)
    assert isinstance(output, LabelMap)
    np.testing.assert_array_equal(output.array, _expected(volume))
    np.testing.assert_array_equal(output.affine, volume.affine)
    assert not (tmp_path / name / "eval").exists()


@pytest.mark.parametrize("name", ["spleen", "found_architecture"])
def test_random_network_gives_the_same_with_both_engines(
    name: str, tmp_path: Path, cache: Path, volume: Volume, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (_run(name, tmp_path, cache, volume, engine) for engine in ENGINES)
    assert capsys.readouterr().out == "", "standard output is for our answer; DiNTS prints when it is made"
    assert isinstance(first, LabelMap)
    assert isinstance(second, LabelMap)
    assert len(np.unique(first.array)) == 3
    assert np.mean(first.array == second.array) > 0.9999


def test_network_with_a_removed_argument_runs(tmp_path: Path, cache: Path, volume: Volume) -> None:
    output = _run("swin_img_size", tmp_path, cache, volume)
    assert isinstance(output, LabelMap)
    assert output.array.shape == volume.array.shape


@pytest.mark.parametrize("engine", ENGINES)
def test_hundred_and_four_classes_come_back_by_nearest_neighbour(
    engine: str, tmp_path: Path, cache: Path, volume: Volume
) -> None:
    output = _run("argmax_then_nearest", tmp_path, cache, volume, engine)
    assert isinstance(output, LabelMap)
    assert set(np.unique(output.array)) == {0, 1, 2}
    expected = _expected(volume)
    for value in (1, 2):
        assert _dice(output.array == value, expected == value) > 0.85


def _modalities(volume: Volume) -> dict[str, Volume]:
    """The phantom with its parts exchanged, so that each series is like no other."""
    changed = {
        "t1c": volume.array,
        "t1": -volume.array,
        "t2": np.abs(volume.array - 40),
        "flair": volume.array**2 / 1e3,
    }
    return {f"series {name}": _with(volume, changed[name]) for name in MODALITIES}


def _with(volume: Volume, array: npt.NDArray[np.float32]) -> Volume:
    return Volume(
        np.asarray(array, np.float32), volume.affine, volume.series, volume.instances, volume.frame_of_reference_uid
    )


def _bright(volume: Volume) -> npt.NDArray[np.bool_]:
    """What BraTS normalisation (over voxels that are not 0) puts above its mean."""
    values = volume.array[volume.array != 0]
    return (volume.array - values.mean()) / values.std() * (volume.array != 0) > 0.01


@pytest.mark.parametrize("engine", ENGINES)
def test_series_with_one_key_are_stacked_in_the_manifests_order(
    engine: str, tmp_path: Path, cache: Path, volume: Volume
) -> None:
    volumes = _modalities(volume)
    _, model = _open("sigmoid_overlap", tmp_path, cache, engine)
    output = model.run(dict(reversed(volumes.items())))
    assert isinstance(output, Masks)
    for mask, source in zip(output.array, volumes.values(), strict=True):
        assert 0 < mask.mean() < 1
        np.testing.assert_array_equal(mask, _bright(source))


def test_values_that_the_bundle_writes_become_those_of_the_manifest(
    tmp_path: Path, cache: Path, volume: Volume
) -> None:
    volumes = _modalities(volume)
    _, model = _open("brats_values", tmp_path, cache)
    output = model.run(volumes)
    first, second, third, _ = (_bright(v) for v in volumes.values())
    assert isinstance(output, LabelMap)
    np.testing.assert_array_equal(output.array, np.where(third, 3, np.where(first, 1, np.where(second, 2, 0))))


@pytest.mark.parametrize("engine", ENGINES)
def test_series_with_their_own_keys_go_in_separately(engine: str, tmp_path: Path, cache: Path, volume: Volume) -> None:
    arrays = (volume.array, volume.array - 300, volume.array - 500)
    names = ("series artery", "series vein", "series excret")
    _, model = _open("three_series", tmp_path, cache, engine)
    output = model.run({name: _with(volume, array) for name, array in zip(names, arrays, strict=True)})
    assert isinstance(output, Masks)
    np.testing.assert_array_equal(output.array, [array > 200 for array in arrays])


def test_classifier_gives_its_scores_before_they_are_thresholded(tmp_path: Path, cache: Path, volume: Volume) -> None:
    first, second = (_run("classifier", tmp_path, cache, volume, engine) for engine in ENGINES)
    assert isinstance(first, Scores)
    assert isinstance(second, Scores)
    assert all(0 < value < 1 for value in first.values)
    np.testing.assert_allclose(first.values, second.values, atol=1e-5)


def test_detector_gives_boxes_inside_the_image_with_both_engines(tmp_path: Path, cache: Path, volume: Volume) -> None:
    first, second = (_run("detection_in_handler", tmp_path, cache, volume, engine) for engine in ENGINES)
    assert isinstance(first, Boxes)
    assert isinstance(second, Boxes)
    assert len(first.boxes) == 5
    for one, other in zip(first.boxes, second.boxes, strict=True):
        assert (np.array(one.low) >= -0.5).all()
        assert (np.array(one.high) <= np.array(volume.array.shape) - 0.5).all()
        np.testing.assert_allclose((*one.low, *one.high), (*other.low, *other.high), atol=0.01)


def test_labels_interpolated_after_they_were_chosen_are_refused(tmp_path: Path, cache: Path, volume: Volume) -> None:
    with pytest.raises(OutputInvalid, match=r"holds 0\.5.*labels are whole numbers; .*nearest_interp"):
        _run("argmax_then_bilinear", tmp_path, cache, volume)


def test_bundle_for_colour_images_is_not_supported(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(BundleInvalid, match=r"not supported: its input 'image' is a colour image \(R, G, B\)"):
        _open("colour_video", tmp_path, cache)


@pytest.mark.parametrize("name", ["own_evaluator", "no_run_key", "detection_in_handler"])
def test_second_study_is_answered_by_the_same_model(name: str, tmp_path: Path, cache: Path, volume: Volume) -> None:
    bundle, model = _open(name, tmp_path, cache)
    before = list(sys.path)
    (rule,) = bundle.manifest.inputs
    moved = _with(volume, volume.array[::-1].copy())
    first, other, again = (model.run({rule.name: v}) for v in (volume, moved, volume))
    if isinstance(first, LabelMap):
        assert isinstance(other, LabelMap)
        assert isinstance(again, LabelMap)
        np.testing.assert_array_equal(other.array, first.array[::-1])
        np.testing.assert_array_equal(again.array, first.array)
    else:
        assert isinstance(first, Boxes)
        assert isinstance(again, Boxes)
        assert first.boxes == again.boxes
        assert isinstance(other, Boxes)
        assert other.boxes != first.boxes
    assert sys.path == before


TIERS = {
    "own_evaluator": ("evaluator", "the evaluator is a PromptedEvaluator"),
    "handler_postprocesses": ("evaluator", "the handler PostProcessing may change the answer"),
    "detection_in_handler": ("detector", "the config holds a RetinaNet detector"),
}
SHIMS = {
    "no_run_key": ["run_key"],
    "found_architecture": ["own_device", "arrays_beside_weights"],
    "own_network": ["numpy_aliases"],
    "swin_img_size": ["removed_arguments"],
    "hard_coded_cuda": ["own_root", "own_device"],
    "classifier": ["old_imports_key"],
    "array_transforms": ["removed_transforms"],
    "three_series": ["run_key"],
    "detection_in_handler": ["no_torchvision"],
}


def test_compatibility_report_of_all_look_alikes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[tuple[Any, ...]] = []
    for name, make in LOOKALIKES.items():
        write(tmp_path / name, make())
        report = check_bundle(tmp_path / name, tmp_path / "cache")
        shims = {shim.partition(":")[0] for shim in report.shims}
        rows.append((name, report.loads, report.tier, " ".join(sorted(shims)), "; ".join(report.problems)))
        assert report.loads, (name, report.problems)
        assert (report.tier, report.tier_reason) == TIERS.get(name, ("components", report.tier_reason))
        assert set(SHIMS.get(name, ())) <= shims, name
        assert report.usable == (name != "colour_video"), (name, report)
        for module in [n for n in sys.modules if n.partition(".")[0] == "scripts"]:
            del sys.modules[module]
    with capsys.disabled():
        lines = (f"{n:24}{'loads' if ok else '-':7}{t:12}{s:44}{p[:60]}" for n, ok, t, s, p in rows)
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
