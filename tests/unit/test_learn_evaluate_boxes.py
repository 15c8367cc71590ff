"""Detectors are measured as they read: a real RetinaNet on DICOM, against tables of boxes whose FROC can be counted."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from learning import write_table
from phantoms import write_series
from wetread.cli.main import run
from wetread.errors import DataUnusable
from wetread.images.volume import read_volume
from wetread.infer.model import open_model
from wetread.learn.box_measures import box_figures, matched
from wetread.learn.reference_boxes import COLUMNS, read_boxes
from wetread.learn.sources import read_source
from wetread.records.output import Box, Boxes
from zoo_catalogue import LOOKALIKES
from zoo_lookalikes import write


@pytest.fixture(autouse=True)
def _own_process_for_each() -> Iterator[None]:
    """What a bundle with scripts gets in a worker: nobody else's ``scripts``."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [n for n in sys.modules if n.partition(".")[0] == "scripts"]:
        del sys.modules[name]


def write_boxes(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    return path


def cube(where: float, *, side: float = 4, score: float = 1.0, label: int = 0) -> Box:
    return Box((where, where, where), (where + side, where + side, where + side), score, label)


def test_detector_is_measured_on_a_dicom_series_against_boxes_in_patient_coordinates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    phantom = write_series(tmp_path / "data" / "one", modality="CT", orientation="oblique", description="CT")
    bundle = write(tmp_path / "detector", LOOKALIKES["detection_in_handler"]())
    volume = read_volume(phantom.series(), min_slices=2)
    model = open_model(bundle, engine="torch", cache_folder=tmp_path / "cache")
    said = model.run({bundle.manifest.inputs[0].name: volume})
    model.close()
    assert isinstance(said, Boxes)
    best = said.boxes[0]
    centre = volume.affine @ [*(np.add(best.low, best.high) / 2), 1.0]
    box = dict(zip(COLUMNS, [*centre[:3], 2.0, 2.0, 2.0, "Nodule"], strict=True))
    write_boxes(tmp_path / "data" / "boxes.csv", [box])
    write_table(tmp_path / "data", [{"image": "one", "label": "boxes.csv"}])
    page = tmp_path / "page.html"
    arguments = ["bundle", "evaluate", str(bundle.folder), "--data", str(tmp_path / "data"), "--engine", "torch"]
    assert run([*arguments, "--json", "--html", str(page)]) == 0
    document = json.loads(capsys.readouterr().out)
    (one,) = document["classes"]
    assert (document["n"], one["targets"], one["detections"]) == (1, 1, len(said.boxes))
    (case,) = one["cases"]
    assert (case["targets"], case["found"]) == (1, 1)
    assert document["sensitivity"] == 1.0
    assert document["false_positives_per_image"] == case["false_positives"] < len(said.boxes)
    assert all(0 <= low <= high for high, low in pairwise(one["froc"]["sensitivity"]))
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 1
    assert "Boxes to be found: 1, in 1 image" in html


def test_detection_finds_the_smallest_box_its_centre_lies_in() -> None:
    large, small = cube(0, side=10), cube(2, side=3)
    assert matched([cube(2.5, side=2)], [large, small]).hits.tolist() == [2]
    assert matched([cube(6, side=2)], [large, small]).hits.tolist() == [1]
    assert matched([cube(20)], [large, small]).hits.tolist() == [0]


def test_figures_count_each_target_once_and_false_ones_for_each_image() -> None:
    twice = matched([cube(0, score=0.9), cube(0.5, score=0.8), cube(50, score=0.7)], [cube(0), cube(30)])
    nothing = matched([], [])
    figures = box_figures([twice, nothing], resamples=20)
    assert figures["sensitivity"].value == 0.5
    assert figures["false_positives_per_image"].value == 0.5
    assert figures["froc"].value == pytest.approx(0.5)
    assert "froc" not in box_figures([nothing], resamples=3)


def test_box_in_mm_is_the_box_of_indices_that_holds_it(tmp_path: Path) -> None:
    bundle = write(tmp_path / "detector", LOOKALIKES["detection_in_handler"]())
    rules = bundle.manifest.boxes
    affine = np.array([[0, 0, -2.0, 10], [0, 4.0, 0, -5], [5.0, 0, 0, 100], [0, 0, 0, 1]])  # to x, y, z in LPS mm
    row = dict(zip(COLUMNS, [6, 3, 120, 4, 8, 10, ""], strict=True))
    (box,) = read_boxes(write_boxes(tmp_path / "b.csv", [row]), affine, rules)
    assert (box.low, box.high, box.label) == ((3.0, 1.0, 1.0), (5.0, 3.0, 3.0), 0)
    assert read_boxes(write_boxes(tmp_path / "none.csv", []), affine, rules) == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x_mm": "left"}, "b.csv row 2: x_mm = 'left', expected a number of mm"),
        ({"depth_mm": 0}, r"4 × 8 × 0 mm, all three must be above 0"),
        ({"class": "Cyst"}, "class 'Cyst', expected 'Nodule'"),
    ],
)
def test_box_that_is_none_is_refused_with_its_row(tmp_path: Path, changed: dict[str, object], said: str) -> None:
    bundle = write(tmp_path / "detector", LOOKALIKES["detection_in_handler"]())
    row = dict(zip(COLUMNS, [6, 3, 120, 4, 8, 10, "Nodule"], strict=True)) | changed
    with pytest.raises(DataUnusable, match=said):
        read_boxes(write_boxes(tmp_path / "b.csv", [row]), np.eye(4), bundle.manifest.boxes)


def test_table_with_another_column_and_an_archive_are_refused(tmp_path: Path) -> None:
    bundle = write(tmp_path / "detector", LOOKALIKES["detection_in_handler"]())
    (tmp_path / "b.csv").write_text("x_mm,y_mm,z_mm,diameter_mm\n")
    with pytest.raises(DataUnusable, match="lacks the columns width_mm, height_mm, depth_mm"):
        read_boxes(tmp_path / "b.csv", np.eye(4), bundle.manifest.boxes)
    (tmp_path / "films.npz").touch()
    with pytest.raises(DataUnusable, match="is a NumPy archive, this bundle detects"):
        read_source(tmp_path / "films.npz", bundle.manifest)
