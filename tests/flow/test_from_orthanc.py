"""What a PACS got from us, fetched back: valid for outside validators, in the right place in the patient."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel
import numpy as np
import pydicom
import pytest

from conformance.gate import check_files
from conformance.outside import read_segmentation
from peers import PLAIN, Orthanc, WetreadProcess, config, storescu
from phantoms import Phantom, centroid_mm, write_series
from threshold_bundle import THRESHOLD
from waiting import until

pytestmark = pytest.mark.peer

SERIES: dict[str, dict[str, Any]] = {
    "axial": {},
    "coronal": {"orientation": "coronal"},
    "sagittal": {"orientation": "sagittal"},
    "oblique": {"orientation": "oblique"},
    "reversed": {"orientation": "oblique", "reverse": True},
}


@dataclass(frozen=True)
class Delivered:
    """One study that went the whole way."""

    phantom: Phantom
    results: list[Path]

    def of(self, modality: str) -> list[Path]:
        return [p for p in self.results if p.name.startswith(modality)]

    @property
    def expected(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return self.phantom.array > THRESHOLD


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory, threshold_bundles: Path) -> Iterator[dict[str, Delivered]]:
    """All five studies, sent at once in shuffled order by DCMTK, read by one service, fetched from Orthanc."""
    folder = tmp_path_factory.mktemp("whole")
    orthanc = Orthanc(folder / "orthanc")
    orthanc.start()
    service = WetreadProcess(
        folder / "wetread", config(threshold_bundles, pacs_port=orthanc.dicom_port, quiet_s=1.0), program=PLAIN
    )
    service.start()
    try:
        phantoms = {n: write_series(folder / n, study_seed=n, **options) for n, options in SERIES.items()}
        files = [p for phantom in phantoms.values() for p in phantom.paths]
        random.Random(7).shuffle(files)
        sent = storescu(service.port, files)
        assert sent.returncode == 0, sent.stderr
        until(lambda: service.states() == ["read"] * len(SERIES), timeout_s=120, what="all studies are read")
        fetched = orthanc.fetch({"SEG", "SR", "OT"}, folder / "fetched")
        yield {name: Delivered(phantom, _results_of(phantom, fetched)) for name, phantom in phantoms.items()}
    finally:
        service.stop()
        orthanc.stop()


def _results_of(phantom: Phantom, fetched: list[Path]) -> list[Path]:
    def study(path: Path) -> str:
        return str(pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)

    return [p for p in fetched if study(p) == phantom.study_instance_uid]


@pytest.fixture(params=SERIES)
def one(request: pytest.FixtureRequest, delivered: dict[str, Delivered]) -> Delivered:
    return delivered[request.param]


def test_three_series_at_most_and_every_kind_there(one: Delivered) -> None:
    series = {str(pydicom.dcmread(p, stop_before_pixels=True).SeriesInstanceUID) for p in one.results}
    assert len(series) == 3
    assert [len(one.of(m)) for m in ("SEG", "SR")] == [1, 1]
    assert one.of("OT")


def test_outside_validators_have_nothing_to_say(one: Delivered) -> None:
    assert check_files(one.results, one.phantom.paths) == []


def test_segmentation_lies_where_the_object_is(one: Delivered) -> None:
    """By highdicom's own volume reader."""
    volume = hd.seg.segread(one.of("SEG")[0]).get_volume(combine_segments=True)
    found = centroid_mm(volume.array == 1, volume.affine)
    half_voxel_mm = np.linalg.norm(one.phantom.affine[:3, :3], axis=0).min() / 2
    assert np.linalg.norm(found - centroid_mm(one.expected, one.phantom.affine)) < half_voxel_mm
    assert int((volume.array == 1).sum()) == int(one.expected.sum())


def test_dcmqi_gives_the_same_mask_voxel_for_voxel(one: Delivered, tmp_path: Path) -> None:
    """dcmqi leaves out slices without the segment: each of its voxels is looked up by its position."""
    code, text = read_segmentation(one.of("SEG")[0], tmp_path)
    assert code == 0, text
    image = nibabel.load(tmp_path / "1.nii.gz")
    affine = np.linalg.inv(one.phantom.affine) @ np.diag((-1.0, -1.0, 1.0, 1.0)) @ image.affine
    inside = np.argwhere(np.asarray(image.dataobj) == 1) @ affine[:3, :3].T + affine[:3, 3]
    index = np.rint(inside).astype(int)
    assert np.abs(inside - index).max() < 0.01
    mask = np.zeros_like(one.expected)
    mask[tuple(index.T)] = True
    assert np.array_equal(mask, one.expected)


def test_report_gives_the_volume_and_names_the_segment(one: Delivered) -> None:
    report = pydicom.dcmread(one.of("SR")[0])
    segmentation = pydicom.dcmread(one.of("SEG")[0], stop_before_pixels=True)
    numbers = {str(n.ConceptNameCodeSequence[0].CodeMeaning): n.MeasuredValueSequence[0] for n in _numbers(report)}
    expected_ml = one.expected.sum() * abs(np.linalg.det(one.phantom.affine[:3, :3])) / 1000
    assert float(numbers["Volume"].NumericValue) == pytest.approx(expected_ml, rel=1e-4)
    assert str(segmentation.SOPInstanceUID) in str(report)
    assert str(segmentation.SegmentSequence[0].TrackingUID) in str(report)


def _numbers(item: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    for child in item.get("ContentSequence", ()):
        if child.ValueType == "NUM":
            yield child
        yield from _numbers(child)
