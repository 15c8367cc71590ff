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


def test_figures_are_shown_and_html_is_refused_with_what_to_do(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0
    assert "dice 0.833 (0.667–1.000)" in capsys.readouterr().out
    assert run([*arguments, "--html", str(tmp_path / "page.html")]) == 2
    assert "--html is for classifiers" in capsys.readouterr().err
