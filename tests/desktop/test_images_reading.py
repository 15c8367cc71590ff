"""Images for looking: each file read once before the first picture, true values in as little memory as they need."""

from __future__ import annotations

import gc
import tempfile
import weakref
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from phantoms import Phantom, write_series
from wetread.dimse import dataset
from wetread.errors import MemoryShort
from wetread.images.folder import scan_headers
from wetread.records.study import InstanceRef
from wetread_desktop.images import series_images
from wetread_desktop.images.files import CannotOpen, open_path
from wetread_desktop.images.headers import Headers
from wetread_desktop.images.series_images import Images, fill, open_images

SLICES = 12


def opened(folder: Path) -> Images:
    """The one series in a folder, all slices read."""
    headers = Headers()
    (study,) = open_path(folder, headers).studies
    images = open_images(study.series[0], headers)
    assert fill(images, stopped=lambda: False, came=lambda k: None) == ""
    return images


def test_first_image_reads_each_file_once_and_the_middle_one_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom = write_series(tmp_path, shape=(SLICES, 16, 16))
    read: list[Path] = []
    really = dataset._open
    monkeypatch.setattr(dataset, "_open", lambda path: read.append(path) or really(path))
    headers = Headers()
    (study,) = open_path(tmp_path, headers).studies
    images = open_images(study.series[0], headers)
    assert sorted(read) == sorted([*phantom.paths, phantom.paths[SLICES // 2]])
    assert images.read.sum() == 1
    assert np.array_equal(images.array[SLICES // 2], phantom.array[SLICES // 2])


def _fractions(ds: Dataset, k: int) -> None:
    ds.RescaleSlope, ds.RescaleIntercept = "0.5", "-10"


def _sixteen_bits(ds: Dataset, k: int) -> None:
    ds.BitsStored, ds.HighBit = 16, 15


def _padded(ds: Dataset, k: int) -> None:
    """As some scanners do: 16 bits signed and an intercept, so that padding lies below what 16 bits hold."""
    _sixteen_bits(ds, k)
    ds.PixelRepresentation = 1
    stored = np.frombuffer(ds.PixelData, "<i2").copy()
    stored[0] = -32768
    ds.PixelData = stored.tobytes()


@pytest.mark.parametrize(
    ("modality", "mutate", "kind"),
    [
        ("CT", None, np.int16),
        ("MR", None, np.int16),
        ("MR", _sixteen_bits, np.uint16),
        ("MR", _fractions, np.float32),
        ("CT", _padded, np.int16),
    ],
)
def test_values_are_true_in_the_smallest_type_that_holds_them(
    tmp_path: Path, modality: str, mutate: object, kind: type
) -> None:
    phantom: Phantom = write_series(tmp_path, shape=(SLICES, 16, 16), modality=modality, mutate=mutate)  # type: ignore[arg-type]
    array = opened(tmp_path).array
    assert array.dtype == kind
    expected = phantom.array * 0.5 - 10 if mutate is _fractions else phantom.array.copy()
    if mutate is _padded:
        expected[:, 0, 0] = -32768
    assert np.array_equal(array, expected)


def test_series_that_does_not_fit_into_memory_is_refused_before_anything_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path, shape=(SLICES, 16, 16))
    (study,) = open_path(tmp_path).studies
    monkeypatch.setattr(series_images, "available_mb", lambda: 512.0)
    with pytest.raises(MemoryShort, match="these 12 images need 0 MB of memory, 512 MB are free"):
        open_images(study.series[0])


def test_scan_keeps_no_headers_but_those_that_describe_study_and_series(tmp_path: Path) -> None:
    write_series(tmp_path, shape=(SLICES, 16, 16))
    headers: list[weakref.ref[Dataset]] = []
    most = 0

    def seen(ds: Dataset, _instance: InstanceRef) -> None:
        nonlocal most
        headers.append(weakref.ref(ds))
        gc.collect()
        most = max(most, sum(ref() is not None for ref in headers))

    (study,) = scan_headers(tmp_path, seen=seen).studies
    assert study.instance_count == SLICES
    assert most <= 4, "a garbage collection over thousands of headers stops every thread"


def test_scan_that_nobody_waits_for_ends_after_one_file(tmp_path: Path) -> None:
    write_series(tmp_path, shape=(SLICES, 16, 16))
    headers = Headers()
    open_path(tmp_path, headers, stopped=lambda: len(headers) > 0)
    assert len(headers) == 1


def test_zip_whose_compressed_bytes_are_damaged_is_said_to_be_and_leaves_nothing_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(write_series(tmp_path / "study", shape=(2, 16, 16)).paths[0], "x")
    damaged = bytearray(path.read_bytes())
    damaged[31:60] = b"\xff" * 29  # behind the local header, 30 bytes and a name of one
    path.write_bytes(damaged)
    with pytest.raises(CannotOpen, match="cannot be unpacked"):
        open_path(path)
    assert list(tmp_path.glob("wetread-desk-*")) == []


def test_memory_that_runs_out_while_slices_are_read_is_said_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path, shape=(SLICES, 16, 16))
    headers = Headers()
    (study,) = open_path(tmp_path, headers).studies
    images = open_images(study.series[0], headers)
    really, lacking = series_images.stored_values, images.instances[3]

    def stored_values(instance: InstanceRef, *, rows: int, columns: int) -> object:
        if instance == lacking:
            raise MemoryError
        return really(instance, rows=rows, columns=columns)

    monkeypatch.setattr(series_images, "stored_values", stored_values)
    problem = fill(images, stopped=lambda: False, came=lambda k: None)
    assert problem == "not all images could be read: there is not enough memory"
    assert np.flatnonzero(~images.read).tolist() == [3]
