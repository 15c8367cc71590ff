"""What is not a regular volume is refused, each reason with its own error and a sentence that names the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MPEG2MPML, CTImageStorage, generate_uid

from phantoms import Phantom, write_series
from wetread import errors
from wetread.images.volume import read_volume
from wetread.records.study import SeriesRef

AFFECTED = 7
"""The slice that the parametrized faults below change."""


def label(path: Path) -> str:
    """How a message names a slice of a phantom: the file and its Instance Number."""
    return f"{path.name} (instance {int(path.stem[2:])})"


def refusal(phantom: Phantom, error: type[errors.StudyRejected], *, min_slices: int = 2) -> str:
    """The message of the refusal, which must be exactly ``error`` and must not name the patient."""
    with pytest.raises(errors.StudyRejected) as caught:
        read_volume(phantom.series(), min_slices=min_slices)
    assert type(caught.value) is error
    message = str(caught.value)
    assert "Petra" not in message
    assert "PH-0042" not in message
    return message


def at(affected: int, change: Callable[[Dataset], object]) -> Callable[[Dataset, int], None]:
    def mutate(ds: Dataset, k: int) -> None:
        if k == affected:
            change(ds)

    return mutate


def shift_mm(*by: float) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        ds.ImagePositionPatient = [float(value) + step for value, step in zip(ds.ImagePositionPatient, by, strict=True)]

    return change


def setting(**values: object) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


def without(*keywords: str) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for keyword in keywords:
            delattr(ds, keyword)

    return change


def raw(keyword: str, text: str) -> Callable[[Dataset], None]:
    """Write text that pydicom would refuse to set as a value of this attribute."""

    def change(ds: Dataset) -> None:
        ds[keyword]._value = text

    return change


def turned_deg(angle: float) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        ds.ImageOrientationPatient = [f"{value:.8f}" for value in (1, 0, 0, 0, cos, sin)]

    return change


ONE_FILE = {
    "localizer": (setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), errors.LocalizerImage, "localizer"),
    "projection": (
        setting(ImageType=["DERIVED", "SECONDARY", "PROJECTION IMAGE"]),
        errors.LocalizerImage,
        "projection",
    ),
    "multi-frame": (setting(NumberOfFrames=3), errors.UnsupportedImage, "3 frames"),
    "colour": (setting(SamplesPerPixel=3, PhotometricInterpretation="RGB"), errors.UnsupportedImage, "3 samples"),
    "palette": (setting(PhotometricInterpretation="PALETTE COLOR"), errors.UnsupportedImage, "PALETTE COLOR"),
    "inverted": (setting(PhotometricInterpretation="MONOCHROME1"), errors.UnsupportedImage, "MONOCHROME1"),
    "one bit": (setting(BitsAllocated=1), errors.UnsupportedImage, "1 bits allocated"),
    "modality LUT": (setting(ModalityLUTSequence=[Dataset()]), errors.UnsupportedImage, "Modality LUT"),
    "slope zero": (setting(RescaleSlope="0"), errors.UnsupportedImage, "RescaleSlope is 0"),
    "no matrix": (without("Rows", "Columns"), errors.NoPixels, "no Rows and Columns"),
    "rows zero": (setting(Rows=0), errors.NoPixels, "Rows is 0"),
    "no pixel data": (without("PixelData"), errors.NoPixels, "no Pixel Data"),
    "empty pixel data": (setting(PixelData=b""), errors.TruncatedPixels, "0 bytes of pixel data"),
    "short pixel data": (setting(PixelData=bytes(3838)), errors.TruncatedPixels, "3838 bytes of pixel data"),
    "no position": (without("ImagePositionPatient"), errors.NoGeometry, "ImagePositionPatient is missing"),
    "empty position": (setting(ImagePositionPatient=[]), errors.NoGeometry, "ImagePositionPatient is missing"),
    "two coordinates": (setting(ImagePositionPatient=[1, 2]), errors.NoGeometry, "3 finite numbers"),
    "position NaN": (raw("ImagePositionPatient", ["nan", "0", "0"]), errors.NoGeometry, "3 finite numbers"),
    "position is a word": (raw("ImagePositionPatient", ["left", "0", "0"]), errors.NoGeometry, "3 finite numbers"),
    "no orientation": (without("ImageOrientationPatient"), errors.NoGeometry, "ImageOrientationPatient is missing"),
    "not orthogonal": (
        setting(ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0]),
        errors.NoGeometry,
        "dot product 0.6, two unit vectors at a right angle",
    ),
    "not unit": (setting(ImageOrientationPatient=[1, 0, 0, 0, 2, 0]), errors.NoGeometry, "lengths 1 and 2"),
    "null orientation": (setting(ImageOrientationPatient=[0] * 6), errors.NoGeometry, "lengths 0 and 0"),
    "no pixel spacing": (without("PixelSpacing"), errors.NoGeometry, "PixelSpacing is missing"),
    "spacing zero": (setting(PixelSpacing=[0, 1.1]), errors.NoGeometry, "PixelSpacing is 0 × 1.1 mm"),
    "spacing negative": (setting(PixelSpacing=[0.9, -1.1]), errors.NoGeometry, "0.9 × -1.1 mm"),
    "no frame of reference": (without("FrameOfReferenceUID"), errors.NoGeometry, "FrameOfReferenceUID is missing"),
}


@pytest.mark.parametrize("fault", ONE_FILE)
def test_file_that_cannot_be_a_slice_is_refused_by_name(tmp_path, fault):
    change, error, found = ONE_FILE[fault]
    phantom = write_series(tmp_path, mutate=at(AFFECTED, change))
    message = refusal(phantom, error)
    assert message.startswith(f"{label(phantom.paths[AFFECTED])}: ")
    assert found in message


TWO_FILES = {
    "tilted slice": (turned_deg(4), errors.MixedOrientation, "4.0° apart"),
    "opposite normal": (setting(ImageOrientationPatient=[1, 0, 0, 0, -1, 0]), errors.MixedOrientation, "180.0° apart"),
    "rotated in its plane": (
        setting(ImageOrientationPatient=[0, 1, 0, -1, 0, 0]),
        errors.MixedOrientation,
        "0.0° apart",
    ),
    "other rows": (setting(Rows=40, Columns=48), errors.MixedSize, "40 × 48"),
    "other spacing": (setting(PixelSpacing=[0.9, 1.2]), errors.MixedSize, "0.9 × 1.2 mm"),
    "other frame": (setting(FrameOfReferenceUID="1.2.3"), errors.MixedSize, "frame of reference 1.2.3"),
}


@pytest.mark.parametrize("fault", TWO_FILES)
def test_slices_that_do_not_belong_together_are_refused_and_both_named(tmp_path, fault):
    change, error, found = TWO_FILES[fault]
    phantom = write_series(tmp_path, shuffle_instance_numbers=False, mutate=at(0, change))
    message = refusal(phantom, error)
    assert "IM0001.dcm" in message
    assert "IM0002.dcm" in message
    assert found in message or "other frame" in fault


@pytest.mark.parametrize(("lost", "said"), [((9,), "1 slice is missing"), ((9, 10, 11), "3 slices are missing")])
def test_missing_slices_are_counted_and_both_neighbours_named(tmp_path, lost, said):
    phantom = write_series(tmp_path, orientation="oblique")
    for k in lost:
        phantom.paths[k].unlink()
    message = refusal(phantom, errors.MissingSlice)
    assert f"between {label(phantom.paths[8])} and {label(phantom.paths[lost[-1] + 1])} {said}" in message
    assert "2.5 mm was expected" in message


def test_missing_slices_are_counted_over_the_whole_series(tmp_path):
    phantom = write_series(tmp_path)
    for k in (3, 9, 10):
        phantom.paths[k].unlink()
    assert "3 are missing in the whole series" in refusal(phantom, errors.MissingSlice)


def test_missing_slice_is_found_in_the_smallest_possible_series(tmp_path):
    phantom = write_series(tmp_path)
    for path in (phantom.paths[2], *phantom.paths[4:]):
        path.unlink()
    assert "1 slice is missing" in refusal(phantom, errors.MissingSlice)


@pytest.mark.parametrize(("shift", "refused"), [(0.02, False), (0.03, True), (-0.03, True), (1.0, True)])
def test_gap_may_differ_by_one_percent(tmp_path, shift, refused):
    phantom = write_series(tmp_path, mutate=at(23, shift_mm(0, 0, shift)))
    if refused:
        message = refusal(phantom, errors.UnevenSpacing)
        gap = f"between {label(phantom.paths[22])} and {label(phantom.paths[23])}"
        assert f"{gap} the gap is {2.5 + shift:.4g} mm" in message
        assert "typical gap of the series is 2.5 mm" in message
    else:
        assert read_volume(phantom.series(), min_slices=2).array.shape == (24, 48, 40)


def test_gaps_that_drift_within_one_percent_are_refused_when_slices_leave_the_grid(tmp_path):
    def slower_then_faster(ds: Dataset, k: int) -> None:
        shift_mm(0, 0, -0.0045 * 2.5 * min(k, 63 - k))(ds)

    phantom = write_series(tmp_path, shape=(64, 8, 8), mutate=slower_then_faster)
    message = refusal(phantom, errors.UnevenSpacing)
    assert "off its place on the regular grid" in message
    assert phantom.paths[31].name in message or phantom.paths[32].name in message


def test_two_instances_at_one_position_are_refused_and_both_named(tmp_path):
    phantom = write_series(tmp_path, mutate=at(AFFECTED, shift_mm(0, 0, 2.5)))
    message = refusal(phantom, errors.DuplicatePosition)
    assert phantom.paths[AFFECTED].name in message
    assert phantom.paths[AFFECTED + 1].name in message
    assert "1 of 23 neighbours" in message


def test_two_time_points_in_one_series_are_refused(tmp_path):
    def half(ds: Dataset, k: int) -> None:
        shift_mm(0, 0, -2.5 * (k % 12) if k < 12 else -2.5 * 12)(ds)
        shift_mm(0, 0, 2.5 * (k % 12) if k < 12 else 0)(ds)

    phantom = write_series(tmp_path, mutate=half)
    message = refusal(phantom, errors.DuplicatePosition)
    assert "12 of 23 neighbours" in message
    assert "time points" in message


def test_tilted_gantry_is_refused_with_its_angle(tmp_path):
    def tilt_10_deg(ds: Dataset, k: int) -> None:
        shift_mm(0, 2.5 * k * np.tan(np.radians(10)), 0)(ds)

    phantom = write_series(tmp_path, modality="CT", mutate=tilt_10_deg)
    message = refusal(phantom, errors.GeometryInvalid)
    assert "sheared" in message
    assert "10.0° off the slice normal" in message
    assert phantom.paths[0].name in message


def test_slice_shifted_in_its_plane_is_refused(tmp_path):
    phantom = write_series(tmp_path, mutate=at(AFFECTED, shift_mm(0, 3, 0)))
    message = refusal(phantom, errors.GeometryInvalid)
    assert message.startswith(f"{label(phantom.paths[AFFECTED])} lies 3 mm off its place")


def test_too_few_slices_are_refused(tmp_path):
    phantom = write_series(tmp_path, shape=(5, 16, 16))
    message = refusal(phantom, errors.TooFewSlices, min_slices=10)
    assert "series 3 'T1 MPRAGE' has 5 slices, at least 10 were expected" in message
    assert "IM0001.dcm" in message


def test_single_slice_has_no_slice_axis(tmp_path):
    phantom = write_series(tmp_path, shape=(1, 16, 16))
    assert "has 1 slice, at least 2 were expected" in refusal(phantom, errors.TooFewSlices, min_slices=1)


def test_empty_series_is_refused():
    with pytest.raises(errors.TooFewSlices, match="has 0 slices, at least 2 were expected"):
        read_volume(SeriesRef("1.2", "MR", ()), min_slices=1)


def test_transfer_syntax_without_decoder_is_refused(tmp_path):
    def video(ds: Dataset, k: int) -> None:
        ds.file_meta.TransferSyntaxUID = MPEG2MPML
        ds["PixelData"].is_undefined_length, ds["PixelData"].VR = True, "OB"
        ds.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x04\0\0\0abcd"

    phantom = write_series(tmp_path, mutate=video)
    assert "no decoder for its transfer syntax" in refusal(phantom, errors.UnsupportedImage)


def test_headers_are_checked_before_any_pixel_is_decoded(tmp_path, monkeypatch):
    phantom = write_series(tmp_path, mutate=at(23, without("ImagePositionPatient")))
    decoded: list[object] = []
    monkeypatch.setattr("wetread.images.volume.decode", lambda path, **_: decoded.append(path))
    refusal(phantom, errors.NoGeometry)
    assert decoded == []


def test_enhanced_ct_in_a_series_is_refused(tmp_path):
    def other_study(ds: Dataset) -> None:
        ds.SOPClassUID, ds.SOPInstanceUID, ds.NumberOfFrames = CTImageStorage, generate_uid(), 24

    assert "24 frames" in refusal(write_series(tmp_path, mutate=at(0, other_study)), errors.UnsupportedImage)
