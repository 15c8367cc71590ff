"""A folder of files becomes studies, and every file that does not is named with its reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import MediaStorageDirectoryStorage

from phantoms import Patient, write_series
from wetread.errors import NotDicom
from wetread.images.folder import FolderScan, scan_folder, scan_headers

SMALL = (3, 16, 16)

Scan = Callable[[Path], FolderScan]


@pytest.fixture(params=[scan_folder, scan_headers])
def scan_files(request: pytest.FixtureRequest) -> Scan:
    """The scan of what is read, and the one of what is only looked at: they find the same."""
    return request.param


def test_study_series_and_instances_are_described(scan_files, tmp_path):
    phantom = write_series(tmp_path, shape=SMALL, shuffle_instance_numbers=False)
    (study,) = scan_files(tmp_path).studies
    assert study.study_instance_uid == phantom.study_instance_uid
    assert (study.accession_number, study.description) == ("ACC0007", "Head without contrast")
    assert (study.date, study.time, study.patient_age) == ("20260314", "081500", "046Y")
    assert (study.patient.patient_id, study.patient.name) == ("PH-0042", "Phantom^Petra")
    assert (study.patient.birth_date, study.patient.sex) == ("19800229", "F")
    (series,) = study.series
    assert series.series_instance_uid == phantom.series_instance_uid
    assert (series.modality, series.number, series.description) == ("MR", 3, "T1 MPRAGE")
    assert (series.protocol, series.body_part, series.manufacturer) == ("T1 MPRAGE", "HEAD", "Wetread")
    assert series.image_type == ("ORIGINAL", "PRIMARY", "OTHER")
    assert series.has_geometry
    assert [instance.path for instance in series.instances] == list(phantom.paths)
    assert [instance.instance_number for instance in series.instances] == [1, 2, 3]
    length = 64 if scan_files is scan_folder else 0
    assert {len(instance.digest) for instance in series.instances} == {length}


def test_several_studies_in_deep_folders_are_kept_apart(scan_files, tmp_path):
    write_series(tmp_path / "a" / "deep", shape=SMALL, series_seed="t1", series_number=4)
    write_series(tmp_path / "b" / "放射科 影像", shape=SMALL, series_seed="t2", series_number=2, description="T2")
    write_series(tmp_path / "c", shape=SMALL, study_seed="another")
    studies = scan_files(tmp_path).studies
    assert sorted(len(study.series) for study in studies) == [1, 2]
    two = next(study for study in studies if len(study.series) == 2)
    assert [series.number for series in two.series] == [2, 4]
    assert two.instance_count == 6


def test_one_study_uid_with_two_patients_is_two_studies(scan_files, tmp_path):
    write_series(tmp_path / "a", shape=SMALL, series_seed="a")
    write_series(tmp_path / "b", shape=SMALL, series_seed="b", patient=Patient(id="PH-0043"))
    studies = scan_files(tmp_path).studies
    assert len({study.study_instance_uid for study in studies}) == 1
    assert [study.patient.patient_id for study in studies] == ["PH-0042", "PH-0043"]


def test_files_that_are_not_dicom_are_listed_with_the_reason(scan_files, tmp_path):
    write_series(tmp_path, shape=SMALL)
    (tmp_path / "notes.txt").write_text("call back")
    (tmp_path / "empty.dcm").touch()
    scan = scan_files(tmp_path)
    assert [skipped.path.name for skipped in scan.skipped] == ["empty.dcm", "notes.txt"]
    assert all(skipped.reason.startswith(skipped.path.name) for skipped in scan.skipped)
    assert scan.studies[0].instance_count == 3


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_file_that_belongs_to_no_study_is_listed_with_the_reason(scan_files, tmp_path, keyword):
    path = write_series(tmp_path, shape=SMALL).paths[0]
    ds = pydicom.dcmread(path)
    delattr(ds, keyword)
    ds.save_as(path)
    (skipped,) = scan_files(tmp_path).skipped
    assert skipped.path == path
    assert f"has no {keyword}" in skipped.reason


def test_dicomdir_is_skipped_without_a_word(scan_files, tmp_path):
    phantom = write_series(tmp_path / "in", shape=SMALL)
    files = FileSet()
    for path in phantom.paths:
        files.add(path)
    files.write(tmp_path / "out")
    shutil.copy(tmp_path / "out" / "DICOMDIR", tmp_path / "out" / "index.bin")
    scan = scan_files(tmp_path / "out")
    assert (
        pydicom.dcmread(tmp_path / "out" / "index.bin").file_meta.MediaStorageSOPClassUID
        == MediaStorageDirectoryStorage
    )
    assert scan.skipped == ()
    assert scan.studies[0].instance_count == 3


def test_exact_copy_counts_once_and_another_version_counts_twice(scan_files, tmp_path):
    path = write_series(tmp_path, shape=SMALL).paths[0]
    shutil.copy(path, tmp_path / "copy.dcm")
    assert scan_files(tmp_path).studies[0].instance_count == 3
    ds = pydicom.dcmread(path)
    ds.PatientComments = "changed"
    ds.save_as(tmp_path / "copy.dcm")
    assert scan_files(tmp_path).studies[0].instance_count == 4


def test_file_with_cut_pixels_keeps_its_place_in_the_study(scan_files, tmp_path):
    for name, syntax in (("native", "1.2.840.10008.1.2.1"), ("rle", "1.2.840.10008.1.2.5")):
        path = write_series(tmp_path / name, shape=SMALL, transfer_syntax=syntax).paths[1]
        path.write_bytes(path.read_bytes()[:-40])
        scan = scan_files(tmp_path / name)
        assert scan.skipped == ()
        assert scan.studies[0].instance_count == 3


@pytest.mark.parametrize(
    ("character_set", "encoded", "decoded"),
    [
        ("ISO_IR 100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
        ("ISO_IR 192", "Müller^Jörg".encode(), "Müller^Jörg"),
        ("GB18030", "张^伟".encode("gb18030"), "张^伟"),
        ("ISO_IR 999", b"M\xfcller", "M"),
        ("ISO_IR 192", b"M\xfcller", "M"),
        ("ISO 2022 IR 149\\NONSENSE", b"M\xfcller", "M"),
    ],
)
def test_text_in_any_character_set_never_fails(scan_files, tmp_path, character_set, encoded, decoded):
    def odd(ds: Dataset, k: int) -> None:
        ds.PatientName, ds.SpecificCharacterSet = "N" * len(encoded), "X" * len(character_set)

    for path in write_series(tmp_path, shape=SMALL, mutate=odd).paths:
        content = path.read_bytes().replace(b"N" * len(encoded), encoded)
        path.write_bytes(content.replace(b"X" * len(character_set), character_set.encode()))
    (study,) = scan_files(tmp_path).studies
    assert study.patient.name.startswith(decoded)


def test_values_that_nobody_can_read_are_absent(scan_files, tmp_path):
    def odd(ds: Dataset, k: int) -> None:
        ds["SeriesNumber"]._value, ds["InstanceNumber"]._value = "three", "1.5.2"
        del ds.ImagePositionPatient

    write_series(tmp_path, shape=SMALL, mutate=odd)
    (study,) = scan_files(tmp_path).studies
    assert study.series[0].number is None
    assert not study.series[0].has_geometry
    assert [instance.instance_number for instance in study.series[0].instances] == [None] * 3


def test_file_in_place_of_a_folder_is_refused(scan_files, tmp_path):
    path = write_series(tmp_path, shape=SMALL).paths[0]
    with pytest.raises(NotDicom, match="is not a folder"):
        scan_files(path)


def test_scan_does_not_depend_on_the_order_of_the_files(scan_files, tmp_path):
    paths = write_series(tmp_path / "one", shape=SMALL).paths
    for k, path in enumerate(sorted(paths, reverse=True)):
        (tmp_path / "two").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "two" / f"{k}")

    def uids(folder: Path) -> list[str]:
        return [instance.sop_instance_uid for instance in scan_files(folder).studies[0].series[0].instances]

    assert uids(tmp_path / "one") == uids(tmp_path / "two")
