"""Every transfer syntax gives the same volume."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import get_encoder

from phantoms import Phantom, write_series
from wetread.errors import NotDicom, TruncatedPixels
from wetread.images.volume import read_volume

ENCODED_BY_PYDICOM = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGLSLossless,
    pytest.param(
        uid.JPEG2000Lossless,
        marks=pytest.mark.skipif(
            not get_encoder(uid.JPEG2000Lossless).is_available,
            reason="pydicom has no JPEG 2000 encoder here (pylibjpeg)",
        ),
    ),
]
LOSSLESS_JPEG = {"sv1": "+e1", "process-14": "+el"}
dcmcjpeg = pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="DCMTK's dcmcjpeg is not installed")


def signed(ds: Dataset, k: int) -> None:
    kind = "<i2" if ds.file_meta.TransferSyntaxUID.is_little_endian else ">i2"
    values = np.frombuffer(ds.PixelData, kind) - 1000
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 15, 1
    ds.PixelData = values.astype(kind).tobytes()


@pytest.mark.parametrize("syntax", ENCODED_BY_PYDICOM, ids=str)
def test_unsigned_pixels_are_read_from(tmp_path, syntax):
    phantom = write_series(tmp_path, shape=(3, 48, 40), transfer_syntax=syntax)
    np.testing.assert_array_equal(read_volume(phantom.series(), min_slices=2).array, phantom.array)


@pytest.mark.parametrize("syntax", ENCODED_BY_PYDICOM, ids=str)
def test_signed_pixels_are_read_from(tmp_path, syntax):
    phantom = write_series(tmp_path, shape=(3, 48, 40), transfer_syntax=syntax, mutate=signed)
    np.testing.assert_array_equal(read_volume(phantom.series(), min_slices=2).array, phantom.array - 1000)


@dcmcjpeg
@pytest.mark.parametrize("option", LOSSLESS_JPEG.values(), ids=LOSSLESS_JPEG.keys())
@pytest.mark.parametrize("mutate", [None, signed], ids=["unsigned", "signed"])
def test_lossless_jpeg_pixels_are_read(tmp_path, option, mutate):
    phantom = write_series(tmp_path, shape=(3, 48, 40), mutate=mutate)
    compress_with_dcmtk(phantom, option)
    np.testing.assert_array_equal(
        read_volume(phantom.series(), min_slices=2).array, phantom.array - (1000 if mutate else 0)
    )


@pytest.mark.parametrize("syntax", ENCODED_BY_PYDICOM, ids=str)
def test_file_cut_inside_its_pixels_is_refused_by_name(tmp_path, syntax):
    phantom = write_series(tmp_path, shape=(3, 48, 40), transfer_syntax=syntax)
    series = phantom.series()
    cut(phantom.paths[1], 40)
    # A deflated file that is cut cannot be inflated at all: neither header nor pixels are known.
    error = NotDicom if syntax == uid.DeflatedExplicitVRLittleEndian else TruncatedPixels
    with pytest.raises(error, match=phantom.paths[1].name):
        read_volume(series, min_slices=2)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless])
def test_stream_that_cannot_be_decoded_is_refused_by_name(tmp_path, syntax):
    def destroy(ds: Dataset, k: int) -> None:
        if k == 1:
            ds.file_meta.TransferSyntaxUID = syntax
            ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
            ds.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x08\0\0\0notimage"

    phantom = write_series(tmp_path, shape=(3, 48, 40), mutate=destroy)
    with pytest.raises(
        TruncatedPixels, match=rf"{phantom.paths[1].name} \(instance \d+\): its pixel data .* cannot be decoded"
    ):
        read_volume(phantom.series(), min_slices=2)


def compress_with_dcmtk(phantom: Phantom, option: str) -> None:
    for path in phantom.paths:
        subprocess.run(["dcmcjpeg", option, str(path), str(path)], check=True, capture_output=True)


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])
