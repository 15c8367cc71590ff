"""Files that are not DICOM, or no longer: one error, whatever the bytes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from phantoms import write_series
from wetread.dimse.dataset import content_digest, is_cut_short, read_header
from wetread.errors import NoPixels, NotDicom, SpoolUnavailable, StudyRejected
from wetread.images.pixels import decode
from wetread.images.volume import read_volume
from wetread.records.study import InstanceRef, SeriesRef

NOT_DICOM = {
    "empty": b"",
    "text": b"patient list\n" * 40,
    "random": bytes(range(256)) * 8,
    "preamble only": bytes(128) + b"DICM",
    "no prefix": bytes(128) + b"DICN" + bytes(400),
    "noise after the prefix": bytes(128) + b"DICM" + bytes(range(255, 0, -1)) * 4,
}


def series_of(*paths: Path) -> SeriesRef:
    return SeriesRef("1.2", "MR", tuple(InstanceRef(f"1.2.{k}", "1.2", path, "") for k, path in enumerate(paths)))


@pytest.mark.parametrize("content", NOT_DICOM.values(), ids=NOT_DICOM.keys())
def test_file_that_is_not_dicom_is_refused_by_name(tmp_path, content):
    path = tmp_path / "broken.dcm"
    path.write_bytes(content)
    with pytest.raises(NotDicom, match=r"^broken\.dcm: "):
        read_volume(series_of(path), min_slices=2)


def test_file_that_is_gone_is_refused_by_name(tmp_path):
    with pytest.raises(NotDicom, match=r"gone\.dcm: cannot be opened: No such file"):
        read_volume(series_of(tmp_path / "gone.dcm"), min_slices=2)


def test_folder_in_place_of_a_file_is_refused_by_name(tmp_path):
    with pytest.raises(NotDicom, match="cannot be opened: Is a directory"):
        read_volume(series_of(tmp_path), min_slices=2)


def test_failing_disk_is_temporary_and_does_not_reject_the_study(tmp_path, monkeypatch):
    path = write_series(tmp_path, shape=(2, 8, 8)).paths[0]

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("wetread.dimse.dataset.pydicom.dcmread", lambda *_, **__: fail())
    with pytest.raises(SpoolUnavailable, match=r"the disk could not be read: Input/output error"):
        read_volume(series_of(path), min_slices=2)


@cache
def whole_file(syntax: str) -> tuple[bytes, int]:
    """One valid instance, and the length of its header."""
    with TemporaryDirectory() as folder:
        path = write_series(Path(folder), shape=(2, 8, 8), transfer_syntax=syntax).paths[0]
        content = path.read_bytes()
    return content, content.find(b"\xe0\x7f\x10\x00")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, "1.2.840.10008.1.2.1"])
def test_file_cut_anywhere_in_its_header_never_makes_a_slice(tmp_path, syntax):
    content, header = whole_file(syntax)
    path, silent = tmp_path / "cut.dcm", 0
    for length in range(header):
        path.write_bytes(content[:length])
        with pytest.raises(StudyRejected) as caught:
            read_volume(series_of(path), min_slices=1)
        silent += not isinstance(caught.value, NotDicom)
    # Only a cut exactly between two elements leaves a shorter header that is valid in itself.
    assert silent < 100
    assert silent < header / 10


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, ExplicitVRBigEndian])
def test_file_cut_anywhere_in_its_pixel_data_is_seen_to_be(tmp_path, syntax):
    path = write_series(tmp_path, shape=(1, 8, 8), transfer_syntax=syntax).paths[0]
    whole = path.read_bytes()
    assert not is_cut_short(path)
    begin = whole.rindex(b"\x7f\xe0\x00\x10" if syntax == ExplicitVRBigEndian else b"\xe0\x7f\x10\x00")
    delimiter_length = 4 if syntax == RLELossless else 0  # says nothing of the pixels, and pydicom does not miss it
    for end in range(begin + 1, len(whole) - delimiter_length):
        path.write_bytes(whole[:end])
        try:
            assert is_cut_short(path), f"{len(whole) - end} bytes before its end"
        except NotDicom:
            assert end < begin + 12, "within its tag and length"


def test_file_cut_exactly_before_its_pixels_has_no_pixels(tmp_path):
    content, header = whole_file(ImplicitVRLittleEndian)
    paths = [tmp_path / "a.dcm", tmp_path / "b.dcm"]
    paths[0].write_bytes(content[:header])
    moved = content.replace(b"\x20\x00\x32\x00", b"\x20\x00\x31\x00")
    assert moved != content
    paths[1].write_bytes(moved)
    with pytest.raises(StudyRejected, match=r"b\.dcm: ImagePositionPatient is missing"):
        read_volume(series_of(*paths), min_slices=2)
    with pytest.raises(NoPixels, match=r"a\.dcm: has no Pixel Data"):
        decode(series_of(*paths).instances[0], rows=8, columns=8)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, JPEGLSLossless])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_raise_nothing_but_our_errors(syntax, data):
    content = bytearray(whole_file(syntax)[0])
    for _ in range(data.draw(st.integers(1, 12))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(132, len(content)))]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.dcm"
        path.write_bytes(content)
        for attempt in (
            lambda: read_volume(series_of(path, path), min_slices=2),
            lambda: content_digest(path),
            lambda: read_header(path),
        ):
            assert "damaged.dcm" in outcome(attempt)


def outcome(attempt: Callable[[], object]) -> str:
    """The refusal, or a text that says there was none; any other exception fails the test."""
    try:
        attempt()
    except StudyRejected as exc:
        return str(exc)
    return "damaged.dcm was read"
