"""The demo's study: what the scanner writes is a valid study of the head it was given, at the place it was given."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from scipy import ndimage

from wetread.bundles import load_bundle
from wetread.demo import study as demo_study
from wetread.demo.head import FULL_SCALE, Head, average_head, template_path
from wetread.demo.scan import WHITE, centre_of
from wetread.demo.study import LOCALIZER, PATIENT_NAME, T1, T2, DemoStudy, write_study
from wetread.guard.intended import check_patient, check_spacing
from wetread.images.folder import scan_folder
from wetread.images.volume import read_volume
from wetread.nifti import read_nifti
from wetread.records.study import SeriesRef, StudyRef
from wetread.records.volume import Volume
from wetread.route.selection import select

pytest.importorskip("nilearn", reason="the template comes with nilearn: pip install -e '.[demo]'")

BUNDLE = Path(__file__).parents[2] / "monai_bundles" / "mr_brain_extraction"


@pytest.fixture(scope="module")
def head() -> Head:
    return average_head()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoStudy, StudyRef]:
    folder = tmp_path_factory.mktemp("demo") / "scanner"
    study = write_study(folder)
    (scanned,) = scan_folder(folder).studies
    return study, scanned


@pytest.fixture(scope="module")
def volume(written: tuple[DemoStudy, StudyRef]) -> Volume:
    return read_volume(_series(written[1], T1.description), min_slices=60)


def _series(study: StudyRef, description: str) -> SeriesRef:
    return next(s for s in study.series if s.description == description)


def test_t1_series_reads_back_at_the_place_it_was_scanned(volume: Volume, head: Head) -> None:
    (slab,) = T1.slabs
    assert volume.array.shape == slab.shape
    np.testing.assert_allclose(volume.affine, slab.affine(centre_of(head)), atol=1e-5)


def test_every_point_of_the_template_lies_where_the_template_has_it(volume: Volume) -> None:
    template = read_nifti(template_path())
    bright = np.argwhere(template.array > 0.8 * FULL_SCALE)[::5000]
    assert len(bright) > 50
    points = bright @ template.affine[:3, :3].T + template.affine[:3, 3]
    places = np.linalg.solve(volume.affine, np.c_[points, np.ones(len(points))].T)[:3]
    found = ndimage.map_coordinates(volume.array, places, order=1) / WHITE * FULL_SCALE
    expected = template.array[tuple(bright.T)]
    assert np.corrcoef(found, expected)[0, 1] > 0.8
    assert np.abs(found - expected).mean() < 5


def test_t1_series_is_oblique_about_two_axes_and_holds_the_whole_head(volume: Volume) -> None:
    cosines = np.abs(volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0))
    turned = np.degrees(np.arccos(cosines.max(axis=0)))
    assert (turned > 3).all()
    border = [np.take(volume.array, k, axis) for axis in range(3) for k in (0, -1)]
    assert max(float(side.max()) for side in border) < 0.1 * WHITE
    assert volume.array.max() > 0.9 * WHITE


def test_every_instance_is_valid(written: tuple[DemoStudy, StudyRef]) -> None:
    validator = Path(sys.prefix) / "bin" / "dciodvfy"
    assert validator.is_file(), "install the extra: pip install -e '.[test]'"
    by_series = {scan.number: [] for scan in (LOCALIZER, T1, T2)}
    for path in written[0].paths:
        by_series[int(path.parent.name.rpartition("-")[2])].append(path)
    for path in chain.from_iterable((paths[0], paths[1], paths[-1]) for paths in by_series.values()):
        done = subprocess.run([validator, path], capture_output=True, text=True, check=False)
        assert "MRImage" in done.stdout + done.stderr
        assert "Error" not in done.stdout + done.stderr, path


def test_bundle_takes_the_t1_series_alone_and_says_why(written: tuple[DemoStudy, StudyRef]) -> None:
    selection = select(written[1], load_bundle(BUNDLE).manifest.inputs)
    ((chosen,),) = selection.reads
    assert chosen.series.series_instance_uid == written[0].t1_series_instance_uid
    passed = {v.label: v.reason for v in selection.verdicts if not v.taken}
    assert set(passed) == {"series 1 'Localizer'", "series 3 'T2 TSE'"}
    assert all(passed.values())


def test_bundle_is_meant_for_this_patient_and_spacing(written: tuple[DemoStudy, StudyRef], volume: Volume) -> None:
    manifest = load_bundle(BUNDLE).manifest
    check_patient(written[1], manifest.patient)
    check_spacing(volume, manifest.inputs[0])


def test_every_instance_says_that_it_is_not_a_patient(written: tuple[DemoStudy, StudyRef]) -> None:
    for path in (written[0].paths[0], written[0].paths[-1]):
        ds = dcmread(path, stop_before_pixels=True)
        assert ds.PatientName == PATIENT_NAME
        assert "not a patient" in ds.ImageComments
    assert "inverting its contrast" in dcmread(written[0].paths[-1], stop_before_pixels=True).ImageComments


def test_two_runs_share_no_uid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = Head(np.full((40, 40, 40), 200, np.float32), np.eye(4))
    monkeypatch.setattr(demo_study, "average_head", lambda: blob)
    monkeypatch.setattr(demo_study, "SCANS", (LOCALIZER,))
    uids = []
    for run in ("one", "two"):
        headers = [dcmread(p, stop_before_pixels=True) for p in write_study(tmp_path / run).paths]
        keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
        uids.append({str(ds[keyword].value) for ds in headers for keyword in keywords})
    assert len(uids[0]) == 3 + len(LOCALIZER.slabs)
    assert not uids[0] & uids[1]


def test_template_is_asked_for_by_name_when_nilearn_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(Exception, match=r"\[demo\]"):
        template_path()
