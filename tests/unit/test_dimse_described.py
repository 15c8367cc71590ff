"""An instance is described as ``build_study`` describes it, however many of its series came before."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from phantoms import write_series
from wetread.dimse import describe
from wetread.dimse.dataset import build_study, describe_instance, read_instance
from wetread.dimse.described import Described
from wetread.records.study import InstanceRef

EMPTY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


def _fresh(path: Path) -> Dataset:
    return read_instance(path)[0]


def _ref(path: Path) -> InstanceRef:
    return describe_instance(path)[1]


@pytest.mark.parametrize("keyword", [*describe.DESCRIBING, *EMPTY, "SpecificCharacterSet"])
def test_one_attribute_that_differs_is_described_anew(tmp_path: Path, keyword: str) -> None:
    one, other = write_series(tmp_path, shape=(2, 8, 8)).paths
    described = Described()
    described(_fresh(one), _ref(one))
    ds = pydicom.dcmread(other)
    values = {"SeriesNumber": 77, "PatientBirthDate": "19010101", "StudyDate": "19010101", "StudyTime": "010101"}
    values |= {"PatientAge": "077Y", "ImageType": ["DERIVED", "SECONDARY"], "SpecificCharacterSet": "ISO_IR 192"}
    values |= {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4", "PatientSex": "M", "Laterality": "R"}
    ds.PatientName = "M\xfcller"  # another character set, another name
    setattr(ds, keyword, None if keyword in EMPTY else values.get(keyword, "OTHER"))
    ds.save_as(other)
    expected = build_study([(_fresh(other), _ref(other))])[0]
    assert described(_fresh(other), _ref(other)) == expected
    assert described(_fresh(one), _ref(one)) == build_study([(_fresh(one), _ref(one))])[0]


def test_instances_of_one_series_are_described_once_and_keep_their_own_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_series(tmp_path, shape=(5, 8, 8)).paths
    asked: list[object] = []
    monkeypatch.setattr("wetread.dimse.described.build_study", lambda items: asked.append(items) or build_study(items))
    described = Described()
    studies = [described(_fresh(path), _ref(path)) for path in paths]
    assert studies == [build_study([(_fresh(path), _ref(path))])[0] for path in paths]
    assert len(asked) == 1


def test_everything_the_description_looks_at_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_series(tmp_path, shape=(1, 8, 8)).paths[0]
    item = (_fresh(path), _ref(path))
    looked: set[str] = set()
    for name in ("text", "texts", "integer", "is_present"):
        plain = getattr(describe, name)
        monkeypatch.setattr(describe, name, lambda ds, key, plain=plain: looked.add(key) or plain(ds, key))
    build_study([item])
    assert looked == {*describe.DESCRIBING, *describe.GEOMETRY}
