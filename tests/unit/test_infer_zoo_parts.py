"""Weights, overrides, boxes, masks, scores, and the one bundle with scripts that a process may run."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.networks.nets import UNet

from bundles import KIDNEYS, vouched
from network_bundles import oblique_volume
from wetread.bundles import load_bundle
from wetread.bundles.manifest import BoxRule, InputRule, LabelRule, ScoreRule
from wetread.errors import BundleInvalid, GeometryInvalid, OutputInvalid
from wetread.guard.grid import check_same_grid
from wetread.infer.adapters import to_masks, to_scores
from wetread.infer.configs.config import InferenceConfig
from wetread.infer.configs.weights import load_weights, state_dict
from wetread.infer.engines.torch_engine import TorchEngine
from wetread.infer.geometry import monai_affine, to_label_map, to_meta_tensor
from wetread.infer.model import open_model
from wetread.infer.networks.detection import Detections
from wetread.infer.networks.detection_boxes import to_boxes
from wetread.infer.program import EngineNetwork
from wetread.records.study import SeriesRef
from zoo_catalogue import LOOKALIKES
from zoo_lookalikes import CODE, conv, write

VOLUME = oblique_volume((6, 9, 7))
LABELS = tuple(LabelRule.model_validate(one) for one in KIDNEYS)
NODULE = BoxRule.model_validate(
    {"name": "N", "label": 0, "category": CODE, "type": CODE, "colour_rgb": [1, 2, 3], "score_threshold": 0.3}
)


@pytest.mark.parametrize(
    "wrap",
    [dict, lambda s: {"model": s}, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "epoch": 3}],
)
def test_state_dicts_and_checkpoints_round_them_are_read(wrap: object, tmp_path: Path) -> None:
    state = conv().state_dict()
    torch.save(wrap(state), tmp_path / "model.pt")  # type: ignore[operator]
    found = state_dict(tmp_path / "model.pt")
    assert found.keys() == state.keys()
    assert torch.equal(found["weight"], state["weight"])


def test_config_without_what_a_read_needs_says_so_in_a_sentence(tmp_path: Path) -> None:
    """The zoo's generative bundles have no preprocessing."""
    bundle = write(tmp_path / "b", LOOKALIKES["spleen"]())
    config = json.loads(bundle.config_path.read_text())
    del config["preprocessing"]
    bundle.config_path.write_text(json.dumps(config))
    with pytest.raises(BundleInvalid, match=r"inference\.json has no 'preprocessing', which a read needs$"):
        InferenceConfig(bundle).resolved(InferenceConfig(bundle).parser(), "preprocessing")


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_what_a_config_cannot_make_is_one_line(tmp_path: Path) -> None:
    """MONAI adds a page about installing things."""
    bundle = write(tmp_path / "b", LOOKALIKES["spleen"]())
    config = json.loads(bundle.config_path.read_text())
    config["network_def"] = {"_target_": "monai.networks.nets.TorchVisionFCModel", "model_name": "inception_v3"}
    bundle.config_path.write_text(json.dumps(config))
    with pytest.raises(BundleInvalid) as raised:
        InferenceConfig(bundle).bare_network("network_def")
    assert len(str(raised.value).splitlines()) == 1
    assert str(raised.value).endswith("; install torchvision, the build for this PyTorch")


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [(_Evil(), "holds more than tensors"), ({"a": 1}, "no state dict"), (b"junk", "not a file of weights|more than")],
)
def test_file_without_plain_tensors_is_refused(
    content: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if isinstance(content, bytes):
        (tmp_path / "model.pt").write_bytes(content)
    else:
        torch.save(content, tmp_path / "model.pt")
    with pytest.raises(BundleInvalid, match=message):
        state_dict(tmp_path / "model.pt")
    assert "ran" not in capsys.readouterr().out


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(conv().state_dict(), tmp_path / "model.pt")
    network = UNet(3, 1, 2, channels=(4, 8), strides=(2,))
    with pytest.raises(BundleInvalid, match="do not fit") as refused:
        load_weights(network, tmp_path / "model.pt", name="model.pt for network_def")
    count = len(network.state_dict())
    assert f"{count} of the network's {count} are not in the file, such as model." in str(refused.value)
    assert "2 in the file are not the network's, such as weight" in str(refused.value)


def test_weights_of_a_wider_network_are_refused_with_both_shapes(tmp_path: Path) -> None:
    torch.save(UNet(3, 1, 2, channels=(8, 16), strides=(2,)).state_dict(), tmp_path / "model.pt")
    network = UNet(3, 1, 2, channels=(4, 8), strides=(2,))
    with pytest.raises(BundleInvalid, match=r"have another shape, such as model\S+: \(8, .*, the network's \(4, "):
        load_weights(network, tmp_path / "model.pt", name="model.pt for network_def")


def test_override_changes_the_config_and_the_networks_key(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", LOOKALIKES["detection_in_handler"]())
    runtime = bundle.manifest.runtime
    changed = replace(bundle, manifest=bundle.manifest.model_copy(update={"runtime": _with(runtime, "raw", False)}))
    one, other = InferenceConfig(bundle), InferenceConfig(changed)
    assert (one.config["raw"], other.config["raw"]) == (True, False)
    (weights,) = bundle.manifest.weights
    assert one.network_key(weights) != other.network_key(weights)
    with pytest.raises(BundleInvalid, match=r"overrides 'row', which inference\.json does not have"):
        InferenceConfig(
            replace(bundle, manifest=bundle.manifest.model_copy(update={"runtime": _with(runtime, "row", 1)}))
        )


def _with(runtime: object, key: str, value: object) -> object:
    return runtime.model_copy(update={"override": {key: value}})  # type: ignore[attr-defined]


def test_script_is_part_of_the_networks_key(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", LOOKALIKES["own_network"]())
    (weights,) = bundle.manifest.weights
    before = InferenceConfig(bundle).network_key(weights)
    script = bundle.folder / "scripts" / "network.py"
    script.write_text(script.read_text() + "\n# changed\n")
    assert InferenceConfig(bundle).network_key(weights) != before


def test_network_asked_with_more_than_the_image_is_refused() -> None:
    engine = object.__new__(TorchEngine)
    engine.where = torch.device("cpu")
    with pytest.raises(BundleInvalid, match=r"more than the image \(class_vector\)"):
        EngineNetwork(engine)(torch.zeros(1, 1, 2, 2, 2), class_vector=torch.ones(1), points=None)


def _stacked(*masks: np.ndarray) -> MetaTensor:  # type: ignore[type-arg]
    planes = torch.from_numpy(np.stack([mask.transpose(2, 1, 0) for mask in masks]).astype(np.float32))
    return MetaTensor(planes, meta=to_meta_tensor(VOLUME).meta)


def test_masks_may_overlap_and_keep_their_order() -> None:
    left, right = VOLUME.array > 0.4, VOLUME.array > 0.6
    masks = to_masks(_stacked(left, right), VOLUME, LABELS)
    np.testing.assert_array_equal(masks.array, [left, right])
    assert (masks.array[0] & masks.array[1]).any()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (np.full(VOLUME.array.shape, 0.7), "other values than 0 and 1"),
        (np.full(VOLUME.array.shape, np.nan), "other values than 0 and 1"),
        (np.ones(VOLUME.array.shape), "Right kidney fills the whole image"),
    ],
)
def test_masks_that_are_none_are_refused(second: np.ndarray, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(OutputInvalid, match=message):
        to_masks(_stacked(VOLUME.array > 0.5, second), VOLUME, LABELS)


def test_masks_must_be_as_many_as_labels() -> None:
    with pytest.raises(OutputInvalid, match=r"expected 2 masks on the source grid"):
        to_masks(_stacked(VOLUME.array > 0.5), VOLUME, LABELS)


def test_one_structure_from_border_to_border_is_refused() -> None:
    everywhere = _stacked(np.ones(VOLUME.array.shape))
    with pytest.raises(OutputInvalid, match="Left kidney fills the whole image"):
        to_label_map(everywhere, VOLUME, LABELS)


def test_ignored_value_is_background() -> None:
    answer = np.where(VOLUME.array > 0.5, 255, 1)
    found = to_label_map(_stacked(answer), VOLUME, LABELS, ignored=(255,))
    np.testing.assert_array_equal(found.array, VOLUME.array <= 0.5)
    with pytest.raises(OutputInvalid, match="holds 255"):
        to_label_map(_stacked(answer), VOLUME, LABELS)


def _rule(index: int) -> ScoreRule:
    return ScoreRule.model_validate({"name": f"S{index}", "index": index, "condition": CODE})


def test_scores_come_by_index() -> None:
    assert to_scores(torch.tensor([[0.25], [0.5], [1.0]]), (_rule(2), _rule(0))).values == (1.0, 0.25)


@pytest.mark.parametrize(
    ("values", "message"), [([0.1, 3.2], "S1 is 3.2"), ([0.1, float("nan")], "S1 is nan"), ([0.1], "has 1 numbers")]
)
def test_scores_that_are_none_are_refused(values: list[float], message: str) -> None:
    with pytest.raises(OutputInvalid, match=message):
        to_scores(torch.tensor(values), (_rule(0), _rule(1)))


CORNER = st.tuples(*(st.floats(0, n - 1) for n in VOLUME.array.shape))


@given(CORNER, CORNER)
def test_box_on_any_preprocessed_grid_comes_back_to_its_place(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    """The preprocessed grid: flipped along one axis, axes exchanged, half the spacing."""
    low, high = np.minimum(one, other), np.maximum(one, other)
    to_prepared = np.array([[0, 0, 2, 1.0], [-2, 0, 0, 14], [0, 2, 0, -3], [0, 0, 0, 1]])
    ends = np.array([[*low[::-1], 1], [*high[::-1], 1]]) @ to_prepared.T
    corners = np.concatenate([ends[:, :3].min(axis=0), ends[:, :3].max(axis=0)])
    affine = monai_affine(VOLUME.affine) @ np.linalg.inv(to_prepared)
    (box,) = to_boxes(_found(corners, affine=affine), VOLUME, (NODULE,)).boxes
    np.testing.assert_allclose(box.low, low, atol=1e-6)
    np.testing.assert_allclose(box.high, high, atol=1e-6)


def _found(*corners: object, scores: object = None, labels: object = None, affine: object = None) -> Detections:
    many = np.array(corners, float) if corners else np.zeros((0, 6))
    return Detections(
        many,
        np.array([0.9] * len(many) if scores is None else scores, float),
        np.array([0] * len(many) if labels is None else labels, int),
        np.array(monai_affine(VOLUME.affine) if affine is None else affine),
    )


def test_boxes_are_cut_at_the_border_left_out_below_the_threshold_and_sorted() -> None:
    inside, over, outside = (1, 1, 1, 2, 3, 4), (-5, 2, 2, 3, 30, 3), (90, 1, 1, 95, 2, 2)
    found = _found(inside, over, outside, inside, scores=[0.4, 0.8, 0.9, 0.2])
    answer = to_boxes(found, VOLUME, (NODULE,))
    boxes = answer.boxes
    assert [box.score for box in boxes] == [0.8, 0.4]
    np.testing.assert_allclose(boxes[0].low, (2, 2, -0.5), atol=1e-9)
    np.testing.assert_allclose(boxes[0].high, (3, 8.5, 3), atol=1e-9)
    np.testing.assert_allclose((*boxes[1].low, *boxes[1].high), (1, 1, 1, 4, 3, 2), atol=1e-9)
    assert answer.notes == (
        "detections that reached beyond the image and were cut at its border: 1",
        "detections that lay outside of the image and were left out: 1",
    )


def test_boxes_below_the_threshold_are_not_worth_a_note() -> None:
    outside, over = (90, 1, 1, 95, 2, 2), (-5, 2, 2, 3, 30, 3)
    assert to_boxes(_found(outside, over, scores=[0.1, 0.2]), VOLUME, (NODULE,)).notes == ()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (_found((0, 0, 0, 1, 1, np.nan)), "not finite"),
        (_found((0, 0, 0, 1, 1, 1), scores=[1.5]), "scores go from 1.5"),
        (_found((0, 0, 0, 1, 1, 1), labels=[4]), r"classes \[4\]"),
        (_found((0, 0, 1, 1)), "expected 6"),
    ],
)
def test_boxes_that_are_none_are_refused(found: Detections, message: str) -> None:
    with pytest.raises(OutputInvalid, match=message):
        to_boxes(found, VOLUME, (NODULE,))


def test_detector_that_finds_nothing_gives_no_boxes() -> None:
    assert to_boxes(_found(), VOLUME, (NODULE,)).boxes == ()


def _input(name: str, key: str) -> InputRule:
    return InputRule(name=name, key=key, modality=("MR",))


def test_stacked_series_must_lie_on_one_grid() -> None:
    rules = (_input("T1", "image"), _input("T2", "image"))
    t1 = replace(VOLUME, series=SeriesRef("1.2.3", "MR", (), "T1", 3))
    t2 = replace(VOLUME, series=SeriesRef("1.2.9", "MR", (), "T2", 4))
    check_same_grid({"T1": t1, "T2": t2}, rules)
    moved = VOLUME.affine.copy()
    moved[0, 3] += 0.6
    with pytest.raises(GeometryInvalid, match=r"series 3 'T1' and series 4 'T2' .*0\.6 mm apart"):
        check_same_grid({"T1": t1, "T2": replace(t2, affine=moved)}, rules)
    with pytest.raises(GeometryInvalid, match="6 × 9 × 7 and 5 × 9 × 7 voxels"):
        check_same_grid({"T1": t1, "T2": replace(t2, array=VOLUME.array[:5])}, rules)
    with pytest.raises(GeometryInvalid, match="different frames of reference"):
        check_same_grid({"T1": t1, "T2": replace(t2, frame_of_reference_uid="1.2.77")}, rules)
    check_same_grid({"T1": t1, "T2": replace(t2, affine=moved)}, (_input("T1", "a"), _input("T2", "b")))


def _first_then_second(first: str, second: str, answers: Connection) -> None:
    """In a process of its own: what the first bundle answers, and why the second is refused there."""
    torch.set_num_threads(1)  # as every process that is forked from one that has computed
    cache = Path(first).parent / "c"
    model = open_model(load_bundle(Path(first)), engine="torch", cache_folder=cache, threads=1)
    answer = model.run({"image": oblique_volume()})
    try:
        open_model(load_bundle(Path(second)), engine="torch", cache_folder=cache, threads=1)
        answers.send((answer.array.shape, ""))  # type: ignore[union-attr]
    except BundleInvalid as exc:
        answers.send((answer.array.shape, str(exc)))  # type: ignore[union-attr]


def test_bundles_with_scripts_run_each_in_its_own_process_and_never_two_in_one(tmp_path: Path) -> None:
    folders = [write(tmp_path / n, LOOKALIKES[n]()).folder for n in ("own_network", "own_evaluator")]
    context = multiprocessing.get_context("fork")
    for first, second in (folders, folders[::-1]):
        answers, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_first_then_second, args=(str(first), str(second), theirs), daemon=True)
        process.start()
        theirs.close()
        assert answers.poll(60), "the process answers"
        shape, refused = answers.recv()
        process.join()
        assert shape == (18, 40, 33)
        assert refused == (
            f"this process already runs the scripts of {first.name}; {second.name} has scripts of its own "
            "and needs a process of its own"
        )


def test_failing_transform_is_named(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b", LOOKALIKES["no_run_key"]())
    config = json.loads(bundle.config_path.read_text())
    config["preprocessing"]["transforms"].append(
        {"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x / nope"}
    )
    bundle.config_path.write_text(json.dumps(config))
    vouched(bundle)
    model = open_model(bundle, engine="torch", cache_folder=tmp_path / "c")
    with pytest.raises(
        BundleInvalid, match=r"preprocessing of this bundle fails on this image: .*'nope' is not defined"
    ):
        model.run({"image": VOLUME})
