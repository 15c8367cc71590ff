"""A label map becomes findings: counted, measured, coded, and the same every time."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bundles import BRAIN, KIDNEYS, LESION, THREE, write_bundle
from wetread.errors import OutputInvalid
from wetread.findings.from_output import read_output
from wetread.findings.summary import summarize
from wetread.records.coded import CodedTerm
from wetread.records.reading import EngineIdentity, Reading
from wetread.records.study import SeriesRef
from wetread.records.volume import LabelMap, Volume

ENGINE = EngineIdentity("openvino", "bf16", "2026.4", "CPU", "c0ffee")
AFFINE = np.array([[0.0, 0.1, 1.1, -30.0], [0.2, 0.9, -0.1, 12.5], [2.5, 0.0, 0.0, 7.0], [0.0, 0.0, 0.0, 1.0]])
SHAPE = (4, 5, 6)


def _volume(series_uid: str = "1.2.3") -> Volume:
    return Volume(np.zeros(SHAPE, np.float32), AFFINE, SeriesRef(series_uid, "MR", ()), (), "1.2.4")


def _labels(**counts: int) -> npt.NDArray[np.uint8]:
    """A map with so many voxels of each value: ``_labels(v1=3)``."""
    array = np.zeros(SHAPE, np.uint8).ravel()
    start = 0
    for name, count in counts.items():
        array[start : start + count] = int(name[1:])
        start += count
    return array.reshape(SHAPE)


def _read(folder: Path, array: npt.NDArray[Any], *labels: dict[str, Any], **more: Any) -> Reading:
    arguments = {"volume": _volume(), "affine": AFFINE, "decided_at": datetime(2026, 1, 1, tzinfo=UTC)} | more
    bundle = write_bundle(folder / "bundle", *labels)
    label_map = LabelMap(array, arguments["affine"])
    return read_output(label_map, arguments["volume"], bundle=bundle, engine=ENGINE, decided_at=arguments["decided_at"])


def test_volume_is_voxel_count_times_voxel_volume_in_ml(tmp_path: Path) -> None:
    (finding,) = _read(tmp_path, _labels(v1=7), BRAIN).findings
    assert finding.voxel_count == 7
    (volume,) = finding.measurements
    assert volume.value == pytest.approx(7 * abs(np.linalg.det(AFFINE)) / 1000)
    assert (volume.unit.value, volume.unit.scheme) == ("mL", "UCUM")


def test_sides_stay_apart(tmp_path: Path) -> None:
    left, right = _read(tmp_path, _labels(v1=2, v2=5), *KIDNEYS).findings
    assert left.laterality is not None
    assert right.laterality is not None
    assert (left.laterality.meaning, left.voxel_count) == ("Left", 2)
    assert (right.laterality.meaning, right.voxel_count) == ("Right", 5)
    assert left.tracking_uid != right.tracking_uid


def test_structure_not_found_is_a_finding_of_zero_and_labels_keep_their_values(tmp_path: Path) -> None:
    reading = _read(tmp_path, _labels(v1=4, v3=2), *THREE)
    assert [(f.label_value, f.voxel_count) for f in reading.findings] == [(1, 4), (2, 0), (3, 2)]
    assert np.unique(reading.output.array).tolist() == [0, 1, 3]


def test_required_structure_not_found_means_the_model_failed(tmp_path: Path) -> None:
    with pytest.raises(OutputInvalid, match="'Brain'"):
        _read(tmp_path, _labels(), BRAIN)


def test_undeclared_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputInvalid, match=r"\[9\]"):
        _read(tmp_path, _labels(v1=1, v9=1), BRAIN)


def test_label_map_on_another_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputInvalid, match="voxels"):
        _read(tmp_path / "a", np.ones((5, 4, 6), np.uint8), BRAIN)
    with pytest.raises(OutputInvalid, match="affines"):
        _read(tmp_path / "b", _labels(v1=1), BRAIN, affine=AFFINE + np.eye(4) * 0.01)
    with pytest.raises(OutputInvalid, match="int64"):
        _read(tmp_path / "c", _labels(v1=1).astype(np.int64), BRAIN)


def test_digest_says_whether_two_reads_say_the_same(tmp_path: Path) -> None:
    first = _read(tmp_path / "a", _labels(v1=3), LESION)
    again = _read(tmp_path / "b", _labels(v1=3), LESION, decided_at=datetime(2030, 5, 5, tzinfo=UTC))
    moved = _read(tmp_path / "c", np.roll(_labels(v1=3), 1), LESION)
    other_code = _read(tmp_path / "d", _labels(v1=3), BRAIN)
    assert first.digest == again.digest
    assert len({first.digest, moved.digest, other_code.digest}) == 3
    assert len(first.digest) == len(hashlib.sha256().hexdigest())


def test_tracking_uid_names_the_structure_in_the_series_not_the_read(tmp_path: Path) -> None:
    first = _read(tmp_path / "a", _labels(v1=3), LESION).findings[0]
    larger = _read(tmp_path / "b", _labels(v1=9), LESION).findings[0]
    elsewhere = _read(tmp_path / "c", _labels(v1=3), LESION, volume=_volume("1.2.9")).findings[0]
    assert first.tracking_uid == larger.tracking_uid
    assert first.tracking_uid != elsewhere.tracking_uid
    assert first.tracking_uid.startswith("2.25.")
    assert len(first.tracking_uid) <= 64
    assert first.tracking_id == "Lesion (bundle)"


def test_identity_names_bundle_weights_and_engine(tmp_path: Path) -> None:
    algorithm = _read(tmp_path, _labels(v1=3), BRAIN).algorithm
    assert (algorithm.bundle_name, algorithm.bundle_version, algorithm.engine) == ("bundle", "0.1.0", ENGINE)
    assert algorithm.bundle_digest != algorithm.weights_digest


def test_summary_has_a_row_for_each_label(tmp_path: Path) -> None:
    rows = summarize(_read(tmp_path, _labels(v1=2), *KIDNEYS))
    assert [(r.name, r.laterality, r.code) for r in rows] == [
        ("Left kidney", "Left", CodedTerm("64033007", "SCT", "Kidney")),
        ("Right kidney", "Right", CodedTerm("64033007", "SCT", "Kidney")),
    ]
    (volume,) = rows[1].measurements
    assert (volume.name, volume.value, volume.unit) == ("Volume", 0.0, "mL")
