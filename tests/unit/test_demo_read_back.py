"""Results opened from their files say what was encoded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from bundles import KIDNEYS
from conformance.cases import Case, read_case
from wetread.demo.arrived import open_arrived
from wetread.demo.report import read_tree
from wetread.demo.server import DemoFailed
from wetread.encode.read_back import read_findings, read_segmentation
from wetread.errors import OutputInvalid


def _case(folder: Path, **series: object) -> Case:
    return read_case(folder, KIDNEYS, **series)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", ["axial", "coronal", "sagittal", "oblique"])
@pytest.mark.parametrize("reverse", [False, True])
def test_mask_comes_back_voxel_for_voxel(tmp_path: Path, orientation: str, reverse: bool) -> None:
    case = _case(tmp_path, orientation=orientation, reverse=reverse)
    read = read_segmentation(case.paths("SEG")[0], case.context.image)
    np.testing.assert_array_equal(read.array, case.context.reading.output.array)


def test_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    case = _case(tmp_path)
    moved = case.context.image.affine.copy()
    moved[0, 3] += 0.4
    with pytest.raises(OutputInvalid, match="does not lie on the grid"):
        read_segmentation(case.paths("SEG")[0], replace(case.context.image, affine=moved))


def test_findings_come_back_with_codes_sides_volumes_and_colours(tmp_path: Path) -> None:
    case = _case(tmp_path)
    label_map = read_segmentation(case.paths("SEG")[0], case.context.image)
    read = read_findings(case.paths("SEG")[0], case.paths("SR")[0], label_map)
    for found, encoded in zip(read, case.context.reading.findings, strict=True):
        assert (found.name, found.type, found.laterality) == (encoded.name, encoded.type, encoded.laterality)
        assert (found.tracking_uid, found.voxel_count) == (encoded.tracking_uid, encoded.voxel_count)
        assert [m.value for m in found.measurements] == pytest.approx([m.value for m in encoded.measurements])
        assert np.abs(np.subtract(found.colour_rgb, encoded.colour_rgb)).max() <= 2


def test_report_tree_has_values_codes_and_references(tmp_path: Path) -> None:
    tree = read_tree(dcmread(_case(tmp_path).paths("SR")[0]))
    assert tree.name == "Imaging Measurement Report"
    assert all(value.endswith(" ml") or value.endswith(" mL") for value in tree.values("Volume"))
    assert len(tree.values("Tracking Unique Identifier")) == 2
    assert tree.values("Referenced Segment") == ["Segmentation Storage, segment 1", "Segmentation Storage, segment 2"]


def test_arrived_study_is_opened_by_its_references(tmp_path: Path) -> None:
    case = _case(tmp_path, orientation="oblique")
    arrived = open_arrived(tmp_path, case.phantom.study_instance_uid)
    assert arrived.volume.series.series_instance_uid == case.phantom.series_instance_uid
    assert [kind for kind, _ in arrived.results[:2]] == ["SEG", "SR"]
    numbers = [key_slice.slice_number for key_slice in arrived.key_slices]
    assert numbers == sorted(numbers)
    assert all(1 <= number <= len(case.sources) for number in numbers)


def test_missing_report_is_said(tmp_path: Path) -> None:
    case = _case(tmp_path)
    case.paths("SR")[0].unlink()
    with pytest.raises(DemoFailed, match="no SR arrived"):
        open_arrived(tmp_path, case.phantom.study_instance_uid)
