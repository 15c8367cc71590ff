"""The digest of an instance's content: the same for every encoding of the same values, another for any other value."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from phantoms import write_series
from wetread.dimse.dataset import content_digest

dcmconv = pytest.mark.skipif(shutil.which("dcmconv") is None, reason="DCMTK's dcmconv is not installed")

SYNTAXES = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
]


def rich(ds: Dataset, k: int = 0) -> None:
    """Sequences in sequences, private elements of every kind, odd lengths, binary zeros, empty values."""
    inner = Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "12738006", "SCT", "Brain"
    outer = Dataset()
    outer.add_new(0x00081150, "UI", "1.2.840.10008.5.1.4.1.1.4")
    outer.PurposeOfReferenceCodeSequence = [inner, inner]
    ds.ReferencedImageSequence, ds.RequestAttributesSequence = [outer], []
    ds.ImageComments, ds.PatientComments = "odd", ""
    ds.SmallestImagePixelValue, ds.SpectroscopyAcquisitionDataColumns = 0, 65536
    block = ds.private_block(0x0029, "WETREAD TEST", create=True)
    nested = Dataset()
    nested.add_new(0x00290010, "LO", "WETREAD TEST")
    nested.add_new(0x00291005, "FD", 1.5)
    block.add_new(1, "LO", "seven")
    block.add_new(2, "US", 7)
    block.add_new(3, "OB", b"\1\2\3\4")
    block.add_new(4, "SQ", [nested])
    block.add_new(6, "SQ", [])


@pytest.fixture
def original(tmp_path) -> Path:
    return write_series(tmp_path, shape=(2, 16, 16), mutate=rich, transfer_syntax=uid.ImplicitVRLittleEndian).paths[0]


def lengths_undefined(ds: Dataset, *, undefined: bool) -> None:
    for element in ds:
        if element.VR == "SQ":
            element.value.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
                lengths_undefined(item, undefined=undefined)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=str)
@pytest.mark.parametrize("undefined", [False, True], ids=["defined", "undefined"])
def test_pydicom_encodings_of_one_instance_have_one_digest(original, tmp_path, syntax, undefined):
    def reencode(ds: Dataset, k: int) -> None:
        rich(ds)
        lengths_undefined(ds, undefined=undefined)

    other = write_series(tmp_path / "other", shape=(2, 16, 16), mutate=reencode, transfer_syntax=syntax).paths[0]
    same_encoding = syntax == uid.ImplicitVRLittleEndian and not undefined
    assert (other.read_bytes() == original.read_bytes()) is same_encoding
    assert content_digest(other) == content_digest(original)


@dcmconv
@pytest.mark.parametrize("options", ["+te", "+tb", "+te -e", "+te +e", "+ti -e", "+ti +g", "+te +p 512 64"])
def test_dcmtk_encodings_of_one_instance_have_one_digest(original, tmp_path, options):
    other = tmp_path / "other.dcm"
    subprocess.run(["dcmconv", *options.split(), str(original), str(other)], check=True, capture_output=True)
    assert other.read_bytes() != original.read_bytes()
    assert content_digest(other) == content_digest(original)


@dcmconv
def test_digest_survives_a_round_trip_through_unknown_vrs(original, tmp_path):
    explicit, again = tmp_path / "explicit.dcm", tmp_path / "again.dcm"
    subprocess.run(["dcmconv", "+te", str(original), str(explicit)], check=True, capture_output=True)
    assert pydicom.dcmread(explicit).get_item(0x00291002).VR == "UN"
    subprocess.run(["dcmconv", "+ti", str(explicit), str(again)], check=True, capture_output=True)
    assert content_digest(original) == content_digest(explicit) == content_digest(again)


def test_real_files_have_one_digest_in_four_encodings():
    names = ("MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_expb.dcm")
    assert len({content_digest(Path(str(get_testdata_file(name)))) for name in names}) == 1


def test_compressed_pixels_have_one_digest_with_and_without_offset_table(tmp_path):
    path = write_series(tmp_path, shape=(2, 16, 16), transfer_syntax=uid.RLELossless).paths[0]
    before, content = content_digest(path), path.read_bytes()
    table = b"\xfe\xff\x00\xe0" + struct.pack("<LL", 4, 0)
    assert table in content
    path.write_bytes(content.replace(table, b"\xfe\xff\x00\xe0" + struct.pack("<L", 0)))
    assert content_digest(path) == before


def changed_pixel(ds: Dataset) -> None:
    ds.PixelData = b"\1" + ds.PixelData[1:]


def swapped_items(ds: Dataset) -> None:
    del ds.ReferencedImageSequence[0].PurposeOfReferenceCodeSequence[0]


def nested_private(ds: Dataset) -> None:
    ds[0x00291004].value[0][0x00291005].value = 1.25


CHANGES: dict[str, tuple[Callable[[Dataset], object], bool]] = {
    "text": (lambda ds: setattr(ds, "PatientID", "PH-0043"), False),
    "leading space": (lambda ds: setattr(ds, "ImageComments", " odd"), False),
    "zero taken away": (lambda ds: setattr(ds, "SmallestImagePixelValue", None), False),
    "element taken away": (lambda ds: delattr(ds, "PatientComments"), False),
    "private value": (lambda ds: setattr(ds[0x00291002], "value", 8), False),
    "value in a private sequence": (nested_private, False),
    "item taken away": (swapped_items, False),
    "moved to another tag": (lambda ds: ds.add(DataElement(0x00209158, "LT", ds.pop("ImageComments").value)), False),
    "pixel": (changed_pixel, True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_any_changed_value_changes_the_digest(original, tmp_path, name):
    change, in_pixels = CHANGES[name]
    ds = pydicom.dcmread(original)
    rich(ds)
    ds.save_as(tmp_path / "same.dcm")
    change(ds)
    ds.save_as(tmp_path / "changed.dcm")
    content, pixels = content_digest(original)
    assert content_digest(tmp_path / "same.dcm") == (content, pixels)
    changed_content, changed_pixels = content_digest(tmp_path / "changed.dcm")
    assert changed_content != content
    assert (changed_pixels != pixels) is in_pixels


@pytest.mark.parametrize("tag", [0x00081140, 0x00291004], ids=["public", "private"])
def test_sequence_written_as_unknown_has_the_digest_of_the_sequence(original, tmp_path, tag):
    path = write_series(tmp_path / "explicit", shape=(2, 16, 16), mutate=rich).paths[0]
    explicit, implicit = (pydicom.dcmread(file).get_item(tag).value for file in (path, original))
    name = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    known = name + b"SQ\0\0" + struct.pack("<L", len(explicit)) + explicit
    assert known in path.read_bytes()
    unknown = name + b"UN\0\0" + struct.pack("<L", len(implicit)) + implicit
    path.write_bytes(path.read_bytes().replace(known, unknown))
    assert pydicom.dcmread(path).get_item(tag).VR == "UN"
    assert content_digest(path) == content_digest(original)


@pytest.mark.parametrize("tag", [0x00204000, 0x00291001], ids=["public", "private"])
def test_padding_of_text_does_not_change_the_digest(original, tmp_path, tag):
    ds = pydicom.dcmread(original)
    value = bytes(ds.get_item(tag).value).rstrip()
    for padding in (b" ", b"\0", b"   ", b" \0 "):
        ds[tag] = DataElement(tag, "UN", value + padding)
        ds.save_as(tmp_path / "padded.dcm")
        assert content_digest(tmp_path / "padded.dcm") == content_digest(original)


def test_instance_without_pixels_has_no_pixel_digest(tmp_path):
    path = write_series(tmp_path, shape=(2, 16, 16), mutate=lambda ds, k: ds.pop("PixelData")).paths[0]
    content, pixels = content_digest(path)
    assert len(content) == 64
    assert pixels == ""


def test_pixel_digest_does_not_see_the_header(tmp_path):
    def renamed(ds: Dataset, k: int) -> None:
        ds.PatientID = "PH-0099"

    one = write_series(tmp_path / "one", shape=(2, 16, 16)).paths[0]
    other = write_series(tmp_path / "other", shape=(2, 16, 16), mutate=renamed).paths[0]
    assert content_digest(one)[0] != content_digest(other)[0]
    assert content_digest(one)[1] == content_digest(other)[1]
