"""Segmentations are measured as they are read: on volumes and label maps whose Dice can be counted."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from learning import write_table
from network_bundles import threshold_bundle
from wetread.cli.main import run


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Two boxes, which the bundle finds: of the first the person drew all, of the second half, 8 slices of 1.5 mm."""
    bundle = threshold_bundle(tmp_path / "threshold")
    for number in range(2):
        image = np.zeros((10, 12, 24), np.float32)
        image[2:8, 3:9, 4:20] = 1.0
        drawn = image.astype(np.uint8)
        drawn[:, :, 12:] *= 1 - number
        for name, array in (("i", image), ("m", drawn)):
            nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 2.0, 1.5, 1.0])), tmp_path / f"{name}{number}.nii.gz")
    write_table(tmp_path, [{"image": f"i{n}.nii.gz", "label": f"m{n}.nii.gz", "patient": n} for n in range(2)])
    return ["bundle", "evaluate", str(bundle.folder), "--data", str(tmp_path), "--engine", "torch"]


def test_dice_and_distances_of_every_case_and_their_means(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["n"], document["data"]["part"]) == (2, "all")
    (structure,) = document["structures"]
    whole, half = structure["cases"]
    assert (whole["dice"], whole["surface_distance_mm"], whole["hausdorff_95_mm"]) == (1.0, 0.0, 0.0)
    assert half["dice"] == pytest.approx(2 / 3)
    assert half["hausdorff_95_mm"] == pytest.approx(8 * 1.5)
    assert document["dice"] == structure["figures"]["dice"] == pytest.approx(5 / 6)
    low, high = structure["intervals_95"]["dice"]
    assert low == pytest.approx(2 / 3)
    assert high == 1.0


def test_figures_are_shown_and_the_page_has_box_plots_and_every_case(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert run([*arguments, "--html", str(page)]) == 0
    assert "dice 0.833 (0.667–1.000)" in capsys.readouterr().out
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 3
    assert "0.833 (0.667–1.000)" in html
    assert html.count("<td>i0.nii.gz</td>") == html.count("<td>i1.nii.gz</td>") == 1
    assert "http" not in html


def test_subgroups_have_means_of_their_own_and_not_known_is_one(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"image": f"i{n}.nii.gz", "label": f"m{n}.nii.gz", "sex": "F" if n else ""} for n in range(2)]
    write_table(tmp_path, rows)
    page = tmp_path / "page.html"
    assert run([*arguments, "--json", "--html", str(page)]) == 0
    groups = json.loads(capsys.readouterr().out)["structures"][0]["subgroups"]
    assert [(g["attribute"], g["value"], g["n"]) for g in groups] == [("sex", "F", 1), ("sex", "not known", 1)]
    assert [g["dice"] for g in groups] == [pytest.approx(2 / 3), 1.0]
    assert "<td>not known</td>" in page.read_text(encoding="utf-8")


def test_label_map_that_lies_elsewhere_is_refused(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = np.diag([1.0, 2.0, 1.5, 1.0])
    moved[0, 3] = 7.0
    drawn = np.asarray(nibabel.load(tmp_path / "m1.nii.gz").dataobj)
    nibabel.save(nibabel.Nifti1Image(drawn, moved), tmp_path / "m1.nii.gz")
    assert run(arguments) == 2
    assert "cases.csv row 3: the label map lies elsewhere than the image" in capsys.readouterr().err
