"""What a person put right goes into every result; a report names the one whose place it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from conformance.cases import Case, read_case
from conformance.gate import check_files
from wetread.encode.encoder import encode
from wetread.records.result import EncodedResult, ReportRef
from wetread.records.study import Correction, correct

RIGHT = Correction(
    1,
    patient_id="RIGHT-7",
    issuer="HOSPITAL",
    name="山田^太郎",
    birth_date="19700102",
    sex="M",
    accession_number="A-9",
)
OLD_REPORT = ReportRef("1.2.840.10008.5.1.4.1.1.88.34", "2.25.77", "2.25.78")


def _rich(ds: Any, _k: int) -> None:
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.AccessionNumber = "A-1"
    ds.OtherPatientIDs = "WRONG-2"
    ds.PatientAddress = "Wrong Street 1"
    ds.PatientWeight = "71"
    ds.AdmissionID = "WRONG-ADM"
    ds.ClinicalTrialSubjectID = "WRONG-SUBJECT"
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = "WRONG-RIS"
    ds.IssuerOfAccessionNumberSequence = [issuer]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return read_case(tmp_path / "case", mutate=_rich)


def _encoded(
    case: Case, folder: Path, correction: Correction | None = None, supersedes: tuple[ReportRef, ...] = ()
) -> tuple[EncodedResult, ...]:
    study = case.context.spec.study
    study = correct(study, correction) if correction else study
    spec = replace(case.context.spec, study=study, supersedes=supersedes, out_folder=folder)
    return encode(replace(case.context, spec=spec))


def test_every_result_carries_the_corrected_attributes_and_none_of_the_wrong_person(case: Case, tmp_path: Path) -> None:
    results = _encoded(case, tmp_path / "corrected", RIGHT)
    assert {r.kind for r in results} == {"SEG", "SR", "SC"}
    for result in results:
        ds = dcmread(result.path)
        assert (ds.PatientID, ds.IssuerOfPatientID, str(ds.PatientName)) == ("RIGHT-7", "HOSPITAL", "山田^太郎")
        assert (ds.PatientBirthDate, ds.PatientSex, ds.AccessionNumber) == ("19700102", "M", "A-9")
        assert "PatientAge" not in ds
        assert "WRONG" not in str(ds).upper()


def test_source_references_stay_when_attributes_are_corrected(case: Case, tmp_path: Path) -> None:
    def referenced(results: tuple[EncodedResult, ...]) -> set[str]:
        report = dcmread(next(r.path for r in results if r.kind == "SR"))
        (study,) = report.CurrentRequestedProcedureEvidenceSequence
        return {i.ReferencedSOPInstanceUID for s in study.ReferencedSeriesSequence for i in s.ReferencedSOPSequence}

    sources = {str(dcmread(p).SOPInstanceUID) for p in case.sources}
    assert sources < referenced(_encoded(case, tmp_path / "corrected", RIGHT))
    report = dcmread(next(r.path for r in _encoded(case, tmp_path / "again", RIGHT) if r.kind == "SR"))
    assert report.StudyInstanceUID == case.phantom.study_instance_uid


def test_corrected_results_are_other_objects_and_the_same_each_time(case: Case, tmp_path: Path) -> None:
    corrected = _encoded(case, tmp_path / "corrected", RIGHT)
    again = _encoded(case, tmp_path / "again", RIGHT)
    assert [r.sha256 for r in corrected] == [r.sha256 for r in again]
    assert not {r.sop_instance_uid for r in corrected} & {r.sop_instance_uid for r in case.results}
    assert not {r.series_instance_uid for r in corrected} & {r.series_instance_uid for r in case.results}


def test_correction_that_was_taken_back_gives_the_first_objects(case: Case, tmp_path: Path) -> None:
    back = _encoded(case, tmp_path / "back", Correction(2))
    assert [r.sha256 for r in back] == [r.sha256 for r in case.results]


def test_accession_number_alone_leaves_the_patient(case: Case, tmp_path: Path) -> None:
    ds = dcmread(_encoded(case, tmp_path / "a", Correction(1, accession_number="A-9"))[0].path)
    assert ds.AccessionNumber == "A-9"
    assert "IssuerOfAccessionNumberSequence" not in ds
    assert (ds.PatientID, ds.PatientAge) == ("PH-0042", "046Y")


def test_attribute_corrected_to_nothing_is_empty(case: Case, tmp_path: Path) -> None:
    for result in _encoded(case, tmp_path / "a", Correction(1, birth_date="", sex="")):
        ds = dcmread(result.path)
        assert (ds.PatientBirthDate, ds.PatientSex) == ("", "")


def test_report_names_the_one_it_takes_the_place_of(case: Case, tmp_path: Path) -> None:
    results = {r.kind: r for r in _encoded(case, tmp_path / "next", supersedes=(OLD_REPORT,))}
    first = {r.kind: r for r in case.results if r.kind != "SC"}
    (study,) = dcmread(results["SR"].path).PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (item,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == case.phantom.study_instance_uid
    assert series.SeriesInstanceUID == OLD_REPORT.series_instance_uid
    assert item.ReferencedSOPInstanceUID == OLD_REPORT.sop_instance_uid
    assert item.ReferencedSOPClassUID == OLD_REPORT.sop_class_uid
    assert results["SR"].sop_instance_uid != first["SR"].sop_instance_uid
    assert results["SEG"].sha256 == first["SEG"].sha256
    assert "PredecessorDocumentsSequence" not in dcmread(first["SR"].path)


def test_order_of_predecessors_changes_nothing(case: Case, tmp_path: Path) -> None:
    two = (OLD_REPORT, replace(OLD_REPORT, sop_instance_uid="2.25.70"))
    one_way = _encoded(case, tmp_path / "a", supersedes=two)
    other_way = _encoded(case, tmp_path / "b", supersedes=two[::-1])
    assert [r.sha256 for r in one_way] == [r.sha256 for r in other_way]


def test_corrected_and_superseding_results_pass_every_validator(case: Case, tmp_path: Path) -> None:
    results = _encoded(case, tmp_path / "corrected", RIGHT, (OLD_REPORT,))
    sources = []
    for path in case.sources:  # as the archive holds them once it is corrected, too
        ds = dcmread(path)
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientID, ds.IssuerOfPatientID, ds.PatientName = RIGHT.patient_id, RIGHT.issuer, RIGHT.name
        ds.PatientBirthDate, ds.PatientSex, ds.AccessionNumber = RIGHT.birth_date, RIGHT.sex, RIGHT.accession_number
        for keyword in ("OtherPatientIDs", "PatientAddress", "AdmissionID", "ClinicalTrialSubjectID", "PatientAge"):
            delattr(ds, keyword)
        del ds.IssuerOfAccessionNumberSequence
        sources.append(tmp_path / path.name)
        ds.save_as(sources[-1])
    complaints = check_files([r.path for r in results], sources)
    assert [c for c in complaints if OLD_REPORT.sop_instance_uid not in c.text] == []
