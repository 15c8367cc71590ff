"""The quick look at a data set says what pydicom says, or nothing."""

from __future__ import annotations

import dataclasses
import zlib
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from phantoms import write_series
from received import received
from wetread.dimse.dataset import read_instance
from wetread.errors import InstanceRefused
from wetread.store import part10
from wetread.store.header import plain_uids

NAMES = {0x00080016: "SOPClassUID", 0x00080018: "SOPInstanceUID"}
NAMES |= {0x0020000D: "StudyInstanceUID", 0x0020000E: "SeriesInstanceUID"}


def _dataset() -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.5", "1.2.3.6"
    ds.PatientName = "Phantom^Ph"
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3.7"
    inner.PurposeOfReferenceCodeSequence = [Dataset(), Dataset()]
    inner.PurposeOfReferenceCodeSequence[0].CodeValue = "121311"
    other = Dataset()
    other.StudyInstanceUID = "9.9.9"  # of another study: not this instance's
    ds.ReferencedImageSequence = [inner, other]
    ds.add_new(0x00091001, "UN", b"\x01" * 40)
    ds.Rows = 2
    ds.add_new(0x7FE00010, "OW", b"\0" * 8)
    return ds


def _encoded(ds: Dataset, *, implicit: bool, undefined: bool = False, items_undefined: bool = False) -> bytes:
    for sequence in (ds.ReferencedImageSequence, ds.ReferencedImageSequence[0].PurposeOfReferenceCodeSequence):
        for item in sequence:
            item.is_undefined_length_sequence_item = items_undefined
    ds["ReferencedImageSequence"].is_undefined_length = undefined
    ds.ReferencedImageSequence[0]["PurposeOfReferenceCodeSequence"].is_undefined_length = undefined
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, implicit
    write_dataset(stream, ds)
    return stream.getvalue()


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("items_undefined", [True, False])
def test_plain_data_set_is_read_without_pydicom(*, implicit: bool, undefined: bool, items_undefined: bool) -> None:
    body = _encoded(_dataset(), implicit=implicit, undefined=undefined, items_undefined=items_undefined)
    found = plain_uids(body, implicit_vr=implicit)
    assert found == dict(zip(NAMES, ("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4", "1.2.3.5", "1.2.3.6"), strict=True))


@settings(max_examples=600, deadline=None)
@given(
    implicit=st.booleans(),
    undefined=st.booleans(),
    items_undefined=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=6),
    cut=st.none() | st.integers(0, 700),
)
def test_what_is_answered_is_what_pydicom_answers(
    *, implicit: bool, undefined: bool, items_undefined: bool, changes: list[tuple[int, int]], cut: int | None
) -> None:
    body = bytearray(_encoded(_dataset(), implicit=implicit, undefined=undefined, items_undefined=items_undefined))
    for at, value in changes:
        body[at % len(body)] = value
    try:
        found = plain_uids(bytes(body[:cut]), implicit_vr=implicit)
    except EOFError:
        found = None  # what ends within its header: below
    if found is None:
        return
    ds = read_dataset(BytesIO(body[:cut]), implicit, True, stop_when=lambda tag, _vr, _length: tag >= 0x7FE00000)
    assert found == {tag: str(ds.get(name, "")) for tag, name in NAMES.items()}


@pytest.mark.parametrize("name", NAMES.values())
def test_instance_without_one_of_its_uids_is_refused_as_ever(tmp_path: Path, name: str) -> None:
    path = write_series(tmp_path / "a", shape=(1, 16, 16)).paths[0]
    ds = pydicom.dcmread(path)
    delattr(ds, name)
    ds.save_as(path)
    with pytest.raises(InstanceRefused):
        part10.check(received(path))


def test_header_of_a_ct_is_read_without_pydicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_series(tmp_path / "a", shape=(1, 16, 16), modality="CT").paths[0]
    asked: list[object] = []
    monkeypatch.setattr(part10, "read_dataset", lambda *given, **_named: asked.append(given))
    part10.check(received(path))
    assert asked == []


def test_instance_that_ends_within_its_header_is_refused_while_the_sender_listens(tmp_path: Path) -> None:
    """What is acknowledged can be indexed: at whatever byte the data set ends."""
    instance = received(write_series(tmp_path / "a", shape=(1, 16, 16)).paths[0])
    dataset = bytes(instance.dataset)
    path = tmp_path / "cut.dcm"
    accepted = 0
    for end in range(dataset.index(b"\xe0\x7f\x10\x00OW")):
        cut = dataclasses.replace(instance, dataset=dataset[:end])
        try:
            part10.check(cut)
        except InstanceRefused:
            continue
        accepted += 1
        path.write_bytes(part10.meta_of(cut) + cut.dataset)
        read_instance(path)
    assert 0 < accepted < 100, "elements after the last UID: a data set may end behind each"


SYNTAXES = {"explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "encapsulated": RLELossless}


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
def test_instance_that_ends_within_its_pixel_data_is_refused_while_the_sender_listens(
    tmp_path: Path, syntax: str
) -> None:
    def sign(ds: Dataset, _k: int) -> None:  # what comes behind the pixels belongs to the instance, too
        ds.add_new(0xFFFCFFFC, "OB", b"\0" * 10)

    path = write_series(tmp_path / "a", shape=(1, 6, 6), mutate=sign, transfer_syntax=syntax).paths[0]
    instance = received(path)
    dataset = bytes(instance.dataset)
    part10.check(instance)
    pixels_at, padding_at = dataset.rindex(b"\xe0\x7f\x10\x00"), dataset.rindex(b"\xfc\xff\xfc\xff")
    for end in range(pixels_at + 1, len(dataset)):
        cut = dataclasses.replace(instance, dataset=dataset[:end])
        if end == padding_at:
            part10.check(cut)  # ends behind an element: nothing says that more should come
            continue
        with pytest.raises(InstanceRefused, match="ends within an element"):
            part10.check(cut)


def test_deflated_instance_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    path = write_series(tmp_path / "a", shape=(1, 16, 16), transfer_syntax=DeflatedExplicitVRLittleEndian).paths[0]
    instance = received(path)
    part10.check(instance)
    inflated = zlib.decompress(bytes(instance.dataset), -zlib.MAX_WBITS)
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    cut = deflate.compress(inflated[:-100]) + deflate.flush()
    for dataset in (bytes(instance.dataset)[:-100], cut):
        with pytest.raises(InstanceRefused, match="ends within an element"):
            part10.check(dataclasses.replace(instance, dataset=dataset))


def test_header_that_only_pydicom_reads_is_looked_at_to_its_end(tmp_path: Path) -> None:
    instance = received(write_series(tmp_path / "a", shape=(1, 16, 16)).paths[0])
    header, tag, pixels = bytes(instance.dataset).rpartition(b"\xe0\x7f\x10\x00")
    unknown = b"\xdf\x7f\x01\x10UN\0\0" + b"\xff" * 4 + b"\xfe\xff\xdd\xe0\0\0\0\0"  # of undefined length
    unusual = header + unknown + tag + pixels
    whole = dataclasses.replace(instance, dataset=unusual)
    assert plain_uids(unusual, implicit_vr=False) is None
    part10.check(whole)
    with pytest.raises(InstanceRefused, match="ends within an element"):
        part10.check(dataclasses.replace(whole, dataset=unusual[:-1]))


@pytest.mark.parametrize("zeros", [1, 7, 46])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_zeros_behind_the_pixel_data_are_padding(tmp_path: Path, syntax: str, zeros: int) -> None:
    instance = received(write_series(tmp_path / "a", shape=(1, 16, 16), transfer_syntax=syntax).paths[0])
    whole, implicit = bytes(instance.dataset), syntax == ImplicitVRLittleEndian
    padded = dataclasses.replace(instance, dataset=whole + bytes(zeros))
    part10.check(padded)
    assert plain_uids(padded.dataset, implicit_vr=implicit) == plain_uids(whole, implicit_vr=implicit) is not None
    with pytest.raises(InstanceRefused, match="ends within an element"):
        part10.check(dataclasses.replace(instance, dataset=whole[:-zeros]))
