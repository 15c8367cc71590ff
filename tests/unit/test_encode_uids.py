"""Result UIDs follow from what is said, about whom, and by what."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from wetread.encode.uids import derived_uid, result_uids
from wetread.records.job import JobSpec
from wetread.records.reading import AlgorithmIdentity, EngineIdentity, Reading
from wetread.records.result import Rendition
from wetread.records.study import InstanceRef, Patient, SeriesRef, StudyRef
from wetread.records.volume import LabelMap, Volume

ENGINE = EngineIdentity("torch", "f32", "2", "cpu", "reference")
READING = Reading(
    findings=(),
    output=LabelMap(np.zeros((1, 1, 1), np.uint8), np.eye(4)),
    algorithm=AlgorithmIdentity("bundle", "1", "b" * 64, "w" * 64, "Title", ENGINE),
    digest="d" * 64,
    decided_at=datetime(2026, 1, 1, tzinfo=UTC),
)
SPEC = JobSpec("job", StudyRef("1.2.3", Patient("P"), ()), (), Path(), "", Path())


def _volume(*uids: str) -> Volume:
    instances = tuple(InstanceRef(uid, "1.2", Path(), "") for uid in uids)
    return Volume(np.zeros((1, 1, 1), np.float32), np.eye(4), SeriesRef("1", "MR", instances), instances, "")


def _header(**attributes: str) -> Dataset:
    header = Dataset()
    for keyword, value in ({"PatientID": "P", "StudyDate": "20260101"} | attributes).items():
        setattr(header, keyword, value)
    return header


def _uids(**changes: object) -> tuple[str, str]:
    given = {"spec": SPEC, "image": _volume("1.1", "1.2"), "reading": READING, "header": _header()}
    given |= {"rendition": Rendition.COMMON} | changes
    uids = result_uids(**given)  # type: ignore[arg-type]
    return uids.series("SEG"), uids.instance("SEG")


CHANGES: dict[str, dict[str, object]] = {
    "study": {"spec": replace(SPEC, study=replace(SPEC.study, study_instance_uid="1.2.4"))},
    "sources": {"image": _volume("1.1", "1.3")},
    "patient": {"header": _header(PatientName="Corrected^Name")},
    "study attribute": {"header": _header(AccessionNumber="A2")},
    "bundle": {"reading": replace(READING, algorithm=replace(READING.algorithm, bundle_digest="c" * 64))},
    "rendition": {"rendition": Rendition.MODERN},
    "weights": {"reading": replace(READING, algorithm=replace(READING.algorithm, weights_digest="c" * 64))},
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_of_scope_is_a_new_series(name: str) -> None:
    series, instance = _uids(**CHANGES[name])
    assert series != _uids()[0]
    assert instance != _uids()[1]


def test_change_of_findings_is_a_new_instance_in_the_same_series() -> None:
    series, instance = _uids(reading=replace(READING, digest="e" * 64))
    assert series == _uids()[0]
    assert instance != _uids()[1]


def test_time_of_the_read_and_order_of_the_sources_change_nothing() -> None:
    later = replace(READING, decided_at=datetime(2027, 1, 1, tzinfo=UTC))
    assert _uids(reading=later, image=_volume("1.2", "1.1")) == _uids()


def test_image_attributes_of_the_source_change_nothing() -> None:
    assert _uids(header=_header(EchoTime="3")) == _uids()


def test_kinds_and_parts_are_told_apart() -> None:
    uids = result_uids(SPEC, _volume("1.1"), READING, _header(), rendition=Rendition.COMMON)
    every = [uids.series("SEG"), uids.series("SR"), uids.instance("SEG"), uids.instance("SR"), uids.instance("SC", "1")]
    assert len({*every, uids.instance("SC", "2")}) == 6


def test_uid_is_valid_and_borders_between_parts_count() -> None:
    assert re.fullmatch(r"2\.25\.[1-9][0-9]{0,38}", derived_uid("a", "b"))
    assert derived_uid("ab", "c") != derived_uid("a", "bc")
