"""Reads of the brain bundle that were measured: what would have been predicted bounds each, and is not far above it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from network_bundles import threshold_bundle
from wetread.bundles import load_bundle
from wetread.infer import opening
from wetread.infer.forecast import _FIRST_READ_MB, _MARGIN, _MARGIN_MB, DoneRead, _compiled_mb, _from_reads
from wetread.infer.model import open_model


def read(memory_mb: float, kept_mb: float, *, cold: bool, golden: bool = False, voxels: int = 10_567_680) -> DoneRead:
    return DoneRead(voxels=voxels, memory_mb=memory_mb, kept_mb=kept_mb, cold=cold, seconds=10.0, golden=golden)


GOLDEN = read(660.7, 532.8, cold=True, golden=True, voxels=315_315)
WARM = (read(196.6, 0.0, cold=False), read(271.6, 0.0, cold=False))
COLD = read(745.9, 529.2, cold=True)


def predicted_mb(reads: tuple[DoneRead, ...], *, cold: bool, first: bool, before_mb: float) -> float:
    """As ``Forecast.of`` adds it up."""
    found = _from_reads(reads, 10_567_680, cold=cold, fixed=True)
    assert found is not None
    return before_mb + found[0] * _MARGIN + _MARGIN_MB + (_FIRST_READ_MB if first else 0)


@pytest.mark.parametrize(
    ("reads", "cold", "first", "before_mb", "peak_mb"),
    [
        ((GOLDEN,), False, True, 1406.3, 1687.9),
        ((GOLDEN, WARM[0]), False, False, 1491.3, 1762.9),
        ((GOLDEN,), True, True, 537.9, 1443.9),
        ((GOLDEN, *WARM), True, True, 537.9, 1443.9),
        ((GOLDEN, *WARM, COLD), False, False, 1227.3, 1570.5),
        ((GOLDEN, *WARM, COLD), True, True, 537.9, 1443.9),
    ],
    ids=["where it was built", "again", "elsewhere", "elsewhere after reads", "again there", "a third process"],
)
def test_measured_read_is_bounded_and_not_by_more_than_half_again(
    reads: tuple[DoneRead, ...], cold: bool, first: bool, before_mb: float, peak_mb: float
) -> None:
    predicted = predicted_mb(reads, cold=cold, first=first, before_mb=before_mb)
    assert peak_mb <= predicted <= 1.5 * peak_mb


def test_process_that_compiles_is_predicted_from_reads_that_compiled_not_from_the_golden_case() -> None:
    exported_in_it = read(1269.2, 896.4, cold=True, golden=True, voxels=315_315)
    assert _compiled_mb((exported_in_it, *WARM)) == 896.4
    assert _compiled_mb((exported_in_it, *WARM, COLD)) == 529.2
    warm_is_nearest = (exported_in_it, COLD, *(read(200, 0, cold=False, voxels=40_000_000),))
    found = _from_reads(warm_is_nearest, 40_000_000, cold=True, fixed=True)
    assert found is not None
    assert found[0] == pytest.approx(200 + 529.2)


def test_network_is_exported_before_the_golden_case_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the memory and time of the export would be those of every first read to come."""
    there: list[int] = []
    watched = opening._watched_answer

    def answer(*given: object) -> object:
        there.append(len(list((tmp_path / "c" / "onnx").glob("*.json"))))
        return watched(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(opening, "_watched_answer", answer)
    path = threshold_bundle(tmp_path / "b").config_path
    window = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "inferer": window}))
    open_model(load_bundle(tmp_path / "b"), engine="openvino", cache_folder=tmp_path / "c").close()
    assert there == [1]
