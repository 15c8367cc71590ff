"""Every kind of result passes every outside validator without an error or an unexpected warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundles import KIDNEYS
from conformance.cases import CASES, bare, read_case
from conformance.gate import check_files
from conformance.outside import tool_versions
from wetread.records.result import Rendition


def test_validators_are_installed_and_say_which_edition_they_are() -> None:
    versions = tool_versions()
    print(versions)  # noqa: T201 for the log of the run
    assert versions["dicom3tools"] == "20260927"
    assert all(versions.values())


@pytest.mark.parametrize("rendition", Rendition)
@pytest.mark.parametrize("name", CASES)
def test_results_give_validators_nothing_to_complain_about(name: str, rendition: Rendition, tmp_path: Path) -> None:
    case = read_case(tmp_path, **CASES[name], rendition=rendition)
    assert check_files(case.paths(), case.sources) == []


def test_no_finding_is_said_in_report_and_picture_and_never_by_an_empty_segmentation(tmp_path: Path) -> None:
    case = read_case(tmp_path, **CASES["no finding"])
    assert [r.kind for r in case.results] == ["SR", "SC"]


def test_source_without_type_2_attributes_gives_valid_objects(tmp_path: Path) -> None:
    case = read_case(tmp_path, KIDNEYS, mutate=bare)
    complaints = check_files(case.paths(), case.sources)
    # The source instances themselves lack attributes that every object must have: the two sets cannot be the same.
    assert {c.tool for c in complaints} == {"dcentvfy"}
    assert not [c for c in complaints if "PatientID" in c.text or "PatientName" in c.text]
