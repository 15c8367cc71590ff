"""The contract of ``wetread.encode.context.Encoder``, for every encoder of the table."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from bundles import KIDNEYS
from conformance.cases import CASES, DECIDED_AT, Case, encode_again, read_case
from wetread.encode.encoder import ENCODERS
from wetread.records.result import EncodedResult

KINDS = [kind for kind, _ in ENCODERS]


KINDS_OF_VOLUMES = ["SEG", "SR", "SC"]
"""A Parametric Map is of a film: ``tests/unit/test_encode_parametric_map.py``."""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A study with two structures on an oblique grid."""
    return read_case(tmp_path_factory.mktemp("study"), KIDNEYS, orientation="oblique")


def _of_kind(results: tuple[EncodedResult, ...], kind: str) -> list[EncodedResult]:
    return [r for r in results if r.kind == kind]


def _headers(case: Case, kind: str) -> list[Dataset]:
    return [dcmread(path, stop_before_pixels=True) for path in case.paths(kind)]


def test_results_come_in_sending_order_and_one_series_for_each_kind(case: Case) -> None:
    kinds = [r.kind for r in case.results]
    assert [*KINDS_OF_VOLUMES, "PM"] == KINDS
    assert list(dict.fromkeys(kinds)) == KINDS_OF_VOLUMES
    assert len({r.series_instance_uid for r in case.results}) == len(KINDS_OF_VOLUMES)


@pytest.mark.parametrize("kind", KINDS_OF_VOLUMES)
def test_record_says_what_is_in_the_file(case: Case, kind: str) -> None:
    for result in _of_kind(case.results, kind):
        dataset = dcmread(result.path)
        assert result.sop_class_uid == dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID
        assert result.sop_instance_uid == dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
        assert result.series_instance_uid == dataset.SeriesInstanceUID
        assert result.transfer_syntax_uid == dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert result.sha256 == hashlib.sha256(result.path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", KINDS_OF_VOLUMES)
def test_same_reading_gives_the_same_bytes(case: Case, kind: str, tmp_path: Path) -> None:
    again = _of_kind(encode_again(case, tmp_path), kind)
    assert [r.path.read_bytes() for r in again] == [p.read_bytes() for p in case.paths(kind)]


@pytest.mark.parametrize("name", ["overlap", "present and absent", "boxes at the edge", "no box"])
def test_same_answer_of_any_kind_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    case = read_case(tmp_path / "case", **CASES[name])
    again = encode_again(case, tmp_path / "again")
    assert [r.sha256 for r in again] == [r.sha256 for r in case.results]
    assert [r.path.read_bytes() for r in again] == [p.read_bytes() for p in case.paths()]


@pytest.mark.parametrize("kind", KINDS_OF_VOLUMES)
def test_new_findings_are_new_instances_in_the_old_series(case: Case, kind: str, tmp_path: Path) -> None:
    other = _of_kind(encode_again(case, tmp_path, digest="f" * 64), kind)
    before = _of_kind(case.results, kind)
    assert {r.series_instance_uid for r in other} == {r.series_instance_uid for r in before}
    assert {r.sop_instance_uid for r in other}.isdisjoint(r.sop_instance_uid for r in before)


@pytest.mark.parametrize("kind", KINDS_OF_VOLUMES)
def test_retrained_model_gets_its_own_series_and_device(case: Case, kind: str, tmp_path: Path) -> None:
    algorithm = replace(case.context.reading.algorithm, weights_digest="a" * 64)
    other = _of_kind(encode_again(case, tmp_path, algorithm=algorithm), kind)
    assert {r.series_instance_uid for r in other}.isdisjoint(r.series_instance_uid for r in case.results)
    before, after = (dcmread(p, stop_before_pixels=True) for p in (case.paths(kind)[0], other[0].path))
    assert before.ContributingEquipmentSequence[-1].DeviceUID != after.ContributingEquipmentSequence[-1].DeviceUID


@pytest.mark.parametrize("kind", KINDS_OF_VOLUMES)
def test_object_says_who_made_it_when_and_that_nobody_reviewed_it(case: Case, kind: str) -> None:
    local = DECIDED_AT + timedelta(hours=2)
    for dataset in _headers(case, kind):
        assert dataset.Manufacturer == "Wetread"
        assert dataset.SeriesDescription.startswith("AI ")
        assert "NOT REVIEWED" in dataset.SeriesDescription
        assert (dataset.ContentDate, dataset.ContentTime) == (f"{local:%Y%m%d}", f"{local:%H%M%S.%f}")
        assert dataset.InstanceCreationDate == dataset.ContentDate
        assert dataset.TimezoneOffsetFromUTC == "+0200"
        equipment = dataset.ContributingEquipmentSequence[-1]
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert equipment.ManufacturerModelName == "phantom_reader"


@pytest.mark.parametrize("kind", KINDS_OF_VOLUMES)
def test_patient_and_study_are_those_of_the_source_and_source_times_are_not_shifted(case: Case, kind: str) -> None:
    source = dcmread(case.sources[0], stop_before_pixels=True)
    for dataset in _headers(case, kind):
        for keyword in (
            "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyID",
            "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber", "ReferringPhysicianName",
        ):  # fmt: skip
            assert dataset[keyword].value == source[keyword].value, keyword


@pytest.mark.parametrize("kind", KINDS_OF_VOLUMES)
def test_series_number_is_fixed_and_instances_are_in_order(case: Case, kind: str) -> None:
    headers = _headers(case, kind)
    assert {h.SeriesNumber for h in headers} == {9000 + KINDS.index(kind)}
    numbers = [int(h.InstanceNumber) for h in headers]
    assert numbers == sorted(set(numbers))


def test_files_are_private_and_nothing_else_is_left_behind(case: Case) -> None:
    folder = case.context.spec.out_folder
    assert sorted(p.name for p in folder.iterdir()) == sorted(r.path.name for r in case.results)
    assert {stat.S_IMODE(r.path.stat().st_mode) for r in case.results} == {0o600}
