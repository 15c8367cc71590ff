"""How near is near enough, which engine is chosen, and what serves when one may not."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fake_tensorrt
from network_bundles import threshold_bundle, unet_bundle
from wetread.bundles import Bundle
from wetread.bundles.manifest import Tolerance
from wetread.errors import BundleInvalid, EngineDisagrees, EngineUnavailable
from wetread.infer.engines import openvino_engine
from wetread.infer.engines.engine import Choice, choose_engine, next_choice
from wetread.infer.gate.compare import Agreement, compare, compare_boxes, compare_masks, compare_scores, iou, limits
from wetread.infer.gate.golden import golden_output
from wetread.infer.model import open_model
from wetread.records.output import Box, Boxes, Scores


def _allowing(bundle: Bundle, precision: str) -> Bundle:
    runtime = bundle.manifest.runtime.model_copy(update={"precision": precision})
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"runtime": runtime}))


def test_float32_is_held_to_what_the_bundle_says_and_coarser_arithmetic_to_the_wider() -> None:
    strict = Tolerance(min_dice=0.9999, min_agreement=0.99999, max_volume_change=0.0)
    assert limits(strict, "f32").min_dice == 0.9999
    half, bfloat = limits(strict, "f16"), limits(strict, "bf16")
    assert (half.min_dice, half.min_agreement, half.max_volume_change) == (0.999, 0.999, 0.005)
    assert (bfloat.min_dice, bfloat.min_agreement, bfloat.max_volume_change) == (0.995, 0.99, 0.01)
    assert limits(Tolerance(min_dice=0.9), "f16").min_dice == 0.9


def test_label_maps_are_measured_label_by_label() -> None:
    stored = np.zeros((4, 5, 6), np.uint8)
    stored[0], stored[1] = 1, 2
    answer = stored.copy()
    answer[0, 0, :3] = 3
    measured = compare(answer, stored)
    assert measured.agreement == pytest.approx(1 - 3 / 120)
    assert measured.dice == {1: pytest.approx(2 * 27 / 57), 2: 1.0, 3: 0.0}
    assert measured.volume_change == {1: pytest.approx(-0.1), 2: 0.0, 3: 1.0}
    problem = measured.problem(Tolerance())
    assert "label 1: Dice" in problem
    assert "label 3: volume +100.00%" in problem
    assert compare(stored, stored).problem(Tolerance()) == ""


def test_overlapping_masks_are_measured_one_by_one() -> None:
    stored = np.zeros((3, 2, 4, 4), bool)
    stored[0], stored[1, 0] = True, True
    answer = stored.copy()
    answer[1, 0, 0, 0] = False
    measured = compare_masks(answer, stored)
    assert measured.dice == {1: 1.0, 2: pytest.approx(2 * 15 / 31)}
    assert "label 2: Dice" in measured.problem(limits(Tolerance(), "bf16"))


def test_no_score_may_cross_its_threshold_however_near() -> None:
    measured = compare_scores([0.4999, 0.8], [0.5, 0.8004], {"effusion": 0.5, "mass": None})
    assert measured.crossed == ("effusion",)
    assert "effusion is on the other side of its threshold" in measured.problem(limits(Tolerance(), "f16"))
    assert (
        compare_scores([0.501, 0.8], [0.5, 0.8004], {"effusion": 0.5, "mass": None}).problem(limits(Tolerance(), "f16"))
        == ""
    )


@pytest.mark.parametrize(
    ("precision", "difference", "fits"),
    [
        ("f32", 0.002, False),
        ("f16", 0.002, True),
        ("f16", 0.006, False),
        ("bf16", 0.006, True),
        ("bf16", 0.03, False),
        ("bf16", float("nan"), False),
    ],
)
def test_scores_may_differ_by_what_the_precision_allows(precision: str, difference: float, fits: bool) -> None:
    measured = compare_scores([0.7 + difference], [0.7], {"mass": None})
    assert (measured.problem(limits(Tolerance(), precision)) == "") is fits  # type: ignore[arg-type]


def _box(shift: float = 0.0, score: float = 0.9, label: int = 0) -> Box:
    return Box((1.0 + shift, 2.0, 3.0), (11.0 + shift, 12.0, 13.0), score, label)


def test_overlap_of_boxes() -> None:
    assert iou(_box(), _box()) == 1.0
    assert iou(_box(), _box(5.0)) == pytest.approx(1 / 3)
    assert iou(_box(), _box(50.0)) == 0.0


def test_every_shown_box_needs_a_partner_in_both_directions() -> None:
    stored = [_box(), _box(40.0, 0.3), _box(80.0, 0.7)]
    same = [_box(0.2, 0.895), _box(80.0, 0.7)]
    assert compare_boxes(same, stored, {0: 0.5}, min_iou=0.95).problem(limits(Tolerance(), "f16")) == ""
    lost = compare_boxes(same[:1], stored, {0: 0.5}, min_iou=0.95)
    assert lost.lost == ("the stored box of class 0 with score 0.70",)
    new = compare_boxes([*same, _box(120.0, 0.6)], stored, {0: 0.5}, min_iou=0.95)
    assert "the new box of class 0 with score 0.60 has no partner" in new.problem(limits(Tolerance(), "f16"))
    assert compare_boxes([_box(label=1)], [_box()], {0: 0.5, 1: 0.5}, min_iou=0.95).agreement == 0.0
    moved = compare_boxes([_box(1.0)], [_box()], {0: 0.5}, min_iou=0.95)
    assert moved.lost
    worse = compare_boxes([_box(score=0.88)], [_box()], {0: 0.5}, min_iou=0.95)
    assert "scores of boxes differ by 0.02" in worse.problem(limits(Tolerance(), "bf16"))


def test_two_answers_do_not_share_a_partner() -> None:
    measured = compare_boxes([_box()], [_box(), _box(0.1, 0.8)], {0: 0.5}, min_iou=0.95)
    assert len(measured.lost) == 1


def test_differences_that_are_no_numbers_are_problems() -> None:
    nan = float("nan")
    assert Agreement(agreement=nan).problem(Tolerance())
    assert Agreement(agreement=1.0, max_difference=nan).problem(Tolerance())
    assert Agreement(agreement=1.0, dice={1: nan}, volume_change={1: nan}).problem(Tolerance()).count("label 1") == 2


def test_stored_scores_and_boxes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text('{"scores": [0.25, 0.5]}')
    assert golden_output(path, np.eye(4)) == Scores((0.25, 0.5))
    box = {"low": [1, 2, 3], "high": [11, 12, 13], "score": 0.9, "label": 0}
    path.write_text(json.dumps({"boxes": [box]}))
    stored = golden_output(path, np.eye(4))
    assert isinstance(stored, Boxes)
    assert stored.boxes == (_box(),)
    path.write_text('{"score": 1}')
    with pytest.raises(BundleInvalid, match=r"answer\.json cannot be used"):
        golden_output(path, np.eye(4))


@pytest.mark.parametrize("variant", list(fake_tensorrt.VARIANTS))
def test_auto_takes_tensorrt_where_there_is_a_gpu(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    fake_tensorrt.install(monkeypatch, variant)
    choice = choose_engine("auto", precision="f16")
    assert choice.name == variant.removesuffix("-10").removesuffix("-11")
    assert choice.precision == "f16"
    assert "an NVIDIA GPU (Fake GPU (sm89))" in choice.reason


def test_auto_leaves_a_gpu_that_rtx_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    fake_tensorrt.install(monkeypatch, "tensorrt-rtx", sm="sm90")
    assert choose_engine("auto", precision="f32").name == "openvino"


def test_auto_says_when_the_allowed_precision_is_not_used() -> None:
    choice = choose_engine("openvino", precision="f16")
    assert choice.precision == "f32"
    assert "allows f16, which openvino does not offer: float32" in choice.reason


def test_what_may_not_serve_falls_back_one_step_at_a_time_and_says_so() -> None:
    problem = EngineDisagrees("Dice 0.9")
    choice: Choice | None = Choice("tensorrt", "asked for", "f16")
    steps = []
    while choice is not None:
        steps.append((choice.name, choice.precision))
        choice = next_choice(choice, problem, requested="auto")
        assert choice is None or "Dice 0.9" in choice.reason
    assert steps == [("tensorrt", "f16"), ("tensorrt", "f32"), ("openvino", "f32"), ("torch", "f32")]


def test_engine_asked_for_by_name_falls_back_in_precision_only() -> None:
    problem = EngineUnavailable("no bfloat16 here")
    lower = next_choice(Choice("openvino", "", "bf16"), problem, requested="openvino")
    assert lower is not None
    assert (lower.name, lower.precision) == ("openvino", "f32")
    assert next_choice(lower, problem, requested="openvino") is None


def test_bfloat16_that_disagrees_serves_as_float32_and_says_why(tmp_path: Path) -> None:
    bundle = _allowing(threshold_bundle(tmp_path / "b"), "bf16")
    coarse = openvino_engine.OpenVinoEngine.__call__

    def off(self: openvino_engine.OpenVinoEngine, array: np.ndarray) -> np.ndarray:
        answer = coarse(self, array)
        return answer[:, ::-1].copy() if self.precision == "bf16" else answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_engine.OpenVinoEngine, "__call__", off)
        model = open_model(bundle, engine="openvino", cache_folder=tmp_path / "cache")
    assert (model.identity.name, model.identity.precision) == ("openvino", "f32")
    assert "openvino may not serve in bf16" in model.choice_reason


def test_certificate_names_the_engine_file_and_a_rebuilt_one_is_gated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_tensorrt.install(monkeypatch, "tensorrt-11")
    bundle, cache = unet_bundle(tmp_path / "b"), tmp_path / "cache"
    first = open_model(bundle, engine="tensorrt", cache_folder=cache).identity
    (file,) = cache.glob("*/certificate.json")
    ((key, digest),) = json.loads(file.read_text())["artefacts"].items()
    record = cache / "engines" / key / "build.json"
    assert json.loads(record.read_text())["engine_sha256"] == digest
    assert open_model(bundle, engine="tensorrt", cache_folder=cache).identity == first
    document = json.loads(record.read_text())
    record.write_text(json.dumps(document | {"engine_sha256": "0" * 64}))
    again = open_model(bundle, engine="tensorrt", cache_folder=cache).identity
    assert again.certificate != first.certificate
    assert json.loads(record.read_text())["engine_sha256"] == digest
