"""A film becomes a Radiograph: upright and as displayed, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, SecondaryCaptureImageStorage

from films import STORED, chest, for_processing, lut, write_film
from wetread.errors import ImageUnusable, NoPixels, TruncatedPixels, UnsupportedImage
from wetread.images.film import foreseen_film, read_radiograph
from wetread.images.hanging import upright
from wetread.records.radiograph import Radiograph, Turn

ORIENTATIONS = list(STORED)


def read(tmp_path: Path, **options: object) -> Radiograph:
    return read_radiograph(write_film(tmp_path, **options).series())  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids="".join)
@pytest.mark.parametrize("monochrome1", [False, True], ids=["mono2", "mono1"])
def test_film_hangs_upright_however_it_is_stored(
    tmp_path: Path, orientation: tuple[str, str], monochrome1: bool
) -> None:
    film = read(tmp_path, orientation=orientation, monochrome1=monochrome1)
    np.testing.assert_allclose(film.array, chest(), atol=1e-3)
    assert film.patient_orientation == ("L", "F")
    assert film.stored_shape == STORED[orientation](chest()).shape


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids="".join)
def test_what_lies_on_the_upright_film_lands_on_its_own_stored_pixels(
    tmp_path: Path, orientation: tuple[str, str]
) -> None:
    film = read(tmp_path, orientation=orientation)
    mark = np.zeros(film.array.shape, np.float32)
    mark[17, 5] = 1.0
    stored = film.turn.take_down(mark)
    assert stored.shape == film.stored_shape
    np.testing.assert_array_equal(stored, STORED[orientation](mark))
    place = film.turn.stored_index(17, 5, shape=film.array.shape)
    assert stored[tuple(int(i) for i in place)] == 1.0


@given(st.booleans(), st.booleans(), st.booleans(), st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_every_turn_can_be_taken_back(
    transpose: bool, reverse_rows: bool, reverse_columns: bool, shape: tuple[int, int]
) -> None:
    turn = Turn(transpose, reverse_rows, reverse_columns)
    stored = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    hung = turn.hang(stored)
    np.testing.assert_array_equal(turn.take_down(hung), stored)
    for index in np.ndindex(*hung.shape):
        row, column = turn.stored_index(*index, shape=hung.shape)  # type: ignore[arg-type]
        assert stored[int(row), int(column)] == hung[index]


@pytest.mark.parametrize(
    ("orientation", "hung"),
    [
        (("A", "F"), ("P", "F")),  # lateral view: faces left
        (("P", "F"), ("P", "F")),
        (("F", "A"), ("P", "F")),  # the same, stored lying
        (("LA", "F"), ("LA", "F")),  # oblique
        (("R", "A"), ("L", "P")),  # axial, e.g. a skull base
        (("A", "R"), ("L", "P")),
        (("", ""), ("", "")),
        (("L", "L"), ("L", "L")),  # makes no sense: as it is stored
        (("X", "F"), ("X", "F")),
        (("LR", "F"), ("LR", "F")),
    ],
)
def test_orientation_after_hanging(orientation: tuple[str, str], hung: tuple[str, str]) -> None:
    turn, found = upright(orientation)
    assert found == hung
    assert (turn == Turn()) == (orientation == hung)


def test_film_without_patient_orientation_is_taken_as_it_is_stored(tmp_path: Path) -> None:
    film = read(tmp_path, orientation=None)
    np.testing.assert_allclose(film.array, chest(), atol=1e-3)
    assert film.turn == Turn()
    assert film.patient_orientation == ("", "")


@pytest.mark.parametrize("modality", ["CR", "DX"])
@pytest.mark.parametrize("bits", [(8, 8), (16, 10), (16, 12), (16, 15), (16, 16)], ids=str)
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_bits_and_sign_make_no_difference(tmp_path: Path, modality: str, bits: tuple[int, int], signed: bool) -> None:
    film = read(tmp_path, modality=modality, bits=bits, signed=signed, monochrome1=modality == "DX")
    np.testing.assert_allclose(film.array, chest(), atol=1.5 / 2 ** bits[1] + 1e-6)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.name)
def test_compressed_film_is_the_same_film(tmp_path: Path, syntax: str) -> None:
    film = read(tmp_path, transfer_syntax=syntax, orientation=("F", "R"))
    np.testing.assert_allclose(film.array, chest(), atol=1e-3)


def test_film_without_window_is_shown_over_the_range_of_its_own_pixels_without_padding(tmp_path: Path) -> None:
    def padded(ds: Dataset) -> None:
        ds.PixelPaddingValue = 0
        pixels = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns) // 2 + 1000
        pixels[:7] = 0
        ds.PixelData = pixels.astype("<u2").tobytes()

    film = read(tmp_path, window=False, mutate=padded)
    assert film.padding[:7].all()
    assert not film.padding[7:].any()
    assert (film.array[:7] == 0).all()
    assert film.array[~film.padding].min() == 0.0
    assert film.array[~film.padding].max() == 1.0


def test_padding_range_of_a_signed_inverted_film_is_black(tmp_path: Path) -> None:
    def padded(ds: Dataset) -> None:
        pixels = np.frombuffer(ds.PixelData, "<i2").reshape(ds.Rows, ds.Columns).copy()
        pixels[:, :3], pixels[:, 3:5] = -2048, -2040
        ds.PixelData = pixels.tobytes()
        ds.PixelPaddingRangeLimit = -2040  # written before the value: either end may be the lower one
        ds.PixelPaddingValue = 2**16 - 2048
        ds["PixelPaddingValue"].VR = "US"  # as some senders write it, whatever the sign of the pixels

    film = read(tmp_path, signed=True, monochrome1=True, mutate=padded)
    assert film.padding[:, :5].all()
    assert (film.array[:, :5] == 0).all()
    np.testing.assert_allclose(film.array[:, 5:], chest()[:, 5:], atol=1e-3)


def test_first_of_several_windows_counts(tmp_path: Path) -> None:
    def two(ds: Dataset) -> None:
        ds.WindowCenter, ds.WindowWidth = ["2048", "100"], ["4096", "50"]
        ds.WindowCenterWidthExplanation = ["whole", "narrow"]

    np.testing.assert_allclose(read(tmp_path, mutate=two).array, chest(), atol=1e-3)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_is_applied_as_pydicom_does_it(tmp_path: Path, function: str) -> None:
    def windowed(ds: Dataset) -> None:
        ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = "1800.5", "1500", function

    written = write_film(tmp_path, mutate=windowed)
    import pydicom

    ds = pydicom.dcmread(written.path)
    expected = apply_voi_lut(ds.pixel_array, ds) / 4095.0
    np.testing.assert_allclose(read_radiograph(written.series()).array, expected, atol=1e-6)


def _squared(count: int, bits: int) -> npt.NDArray[np.int64]:
    return np.rint(np.linspace(0, 1, count) ** 2 * (2**bits - 1)).astype(np.int64)


@pytest.mark.parametrize("as_bytes", [True, False], ids=["OW", "US"])
@pytest.mark.parametrize("bits", [8, 10, 16])
def test_voi_lut_is_looked_up(tmp_path: Path, bits: int, as_bytes: bool) -> None:
    """An 8-bit LUT of 4096 entries too, in which pydicom 3.0.2 wraps round."""

    def with_lut(ds: Dataset) -> None:
        ds.VOILUTSequence = [lut(0, _squared(4096, bits), bits, as_bytes=as_bytes), lut(0, _squared(16, 8), 8)]

    film = read(tmp_path, mutate=with_lut)
    np.testing.assert_allclose(film.array, chest() ** 2, atol=3 / 2 ** min(bits, 12))


def test_lut_of_65536_entries_is_declared_as_0(tmp_path: Path) -> None:
    def with_lut(ds: Dataset) -> None:
        ds.VOILUTSequence = [lut(0, _squared(65536, 16), 16)]

    film = read(tmp_path, bits=(16, 16), mutate=with_lut, window=False)
    np.testing.assert_allclose(film.array, chest() ** 2, atol=1e-4)


@pytest.mark.parametrize("vr", ["SS", "US"])
def test_lut_that_begins_below_zero(tmp_path: Path, vr: str) -> None:
    """Some senders write the negative number under the VR of unsigned ones."""

    def with_lut(ds: Dataset) -> None:
        item = lut(-2048 if vr == "SS" else 2**16 - 2048, _squared(4096, 12), 12)
        item["LUTDescriptor"].VR = vr
        ds.VOILUTSequence = [item]

    film = read(tmp_path, signed=True, mutate=with_lut)
    np.testing.assert_allclose(film.array, chest() ** 2, atol=2e-3)


def test_modality_lut_comes_before_the_window(tmp_path: Path) -> None:
    def with_lut(ds: Dataset) -> None:
        ds.ModalityLUTSequence = [lut(0, _squared(4096, 16), 16)]
        ds.ModalityLUTSequence[0].ModalityLUTType = "US"
        ds.WindowCenter, ds.WindowWidth = "32768", "65536"

    np.testing.assert_allclose(read(tmp_path, mutate=with_lut).array, chest() ** 2, atol=1e-3)


def test_spacing_follows_the_turn_and_zero_is_no_spacing(tmp_path: Path) -> None:
    def spaced(ds: Dataset) -> None:
        ds.ImagerPixelSpacing, ds.PixelSpacing = ["0.2", "0.1"], ["0.000", "0.000"]

    film = read(tmp_path, orientation=("F", "L"), mutate=spaced)
    assert (film.spacing_mm, film.spacing_from) == ((0.1, 0.2), "ImagerPixelSpacing")

    def none(ds: Dataset) -> None:
        del ds.ImagerPixelSpacing

    assert read(tmp_path / "none", mutate=none).spacing_mm is None


def test_header_foresees_the_shape(tmp_path: Path) -> None:
    series = write_film(tmp_path, orientation=("H", "R")).series()
    assert foreseen_film(series) == read_radiograph(series).array.shape


def _colour(ds: Dataset) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.PixelData = ds.PixelData * 3


def _frames(ds: Dataset) -> None:
    ds.NumberOfFrames = 2
    ds.PixelData = ds.PixelData * 2


def _set(**attributes: object) -> object:
    def mutate(ds: Dataset) -> None:
        for keyword, value in attributes.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)

    return mutate


def _cut(ds: Dataset) -> None:
    ds.PixelData = ds.PixelData[:1000]


def _short_lut(ds: Dataset) -> None:
    ds.VOILUTSequence = [lut(0, _squared(4096, 12), 12)]
    ds.VOILUTSequence[0].LUTData = b"\0" * 100


REFUSED = {
    "no pixels": (_set(PixelData=None), NoPixels, "no Pixel Data"),
    "cut": (_cut, TruncatedPixels, "1000 bytes of pixel data"),
    "colour": (_colour, UnsupportedImage, "3 samples per pixel"),
    "palette": (_set(PhotometricInterpretation="PALETTE COLOR"), UnsupportedImage, "PALETTE COLOR"),
    "several frames": (_frames, UnsupportedImage, "2 frames, a film of a single frame"),
    "no rows": (_set(Rows=0), NoPixels, "Rows is 0"),
    "no columns": (_set(Columns=None), NoPixels, "no Rows and Columns"),
    "not a film": (_set(SOPClassUID=SecondaryCaptureImageStorage), UnsupportedImage, "a CR or DX image was expected"),
    "blank": (_set(PixelData=b"\7\0" * 6300), UnsupportedImage, "every pixel has the same value"),
    "shifted bits": (_set(HighBit=15), UnsupportedImage, "high bit 15"),
    "32 bits": (_set(BitsAllocated=32), UnsupportedImage, "12 bits stored of 32"),
    "slope 0": (_set(RescaleSlope="0", RescaleIntercept="0"), UnsupportedImage, "RescaleSlope is 0"),
    "width 0": (_set(WindowWidth="0"), UnsupportedImage, "its window"),
    "function": (_set(VOILUTFunction="CUBIC"), UnsupportedImage, "VOI LUT Function CUBIC"),
    "short LUT": (_short_lut, UnsupportedImage, "50 entries, its descriptor promises 4096"),
    "contradiction": (_set(PresentationLUTShape="INVERSE"), UnsupportedImage, "nobody knows whether bone is bright"),
    "shape": (_set(PresentationLUTShape="LIN OD"), UnsupportedImage, "Presentation LUT Shape LIN OD"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_usable_film_is_refused_with_one_sentence(tmp_path: Path, name: str) -> None:
    mutate, error, sentence = REFUSED[name]
    film = write_film(tmp_path, mutate=mutate)  # type: ignore[arg-type]
    with pytest.raises(ImageUnusable, match=sentence) as caught:
        read_radiograph(film.series())
    assert type(caught.value) is error
    assert "F1.dcm" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_film_says_its_view_in_codes_where_it_has_no_view_position(tmp_path: Path) -> None:
    film = write_film(tmp_path, modality="DX", mutate=_set(ViewPosition=None, BodyPartExamined=None)).series()  # type: ignore[arg-type]
    described = film.instances[0].film
    assert described is not None
    assert (described.view_position, described.body_part) == ("AP", "CHEST")
    assert described.presentation_intent == "FOR PRESENTATION"


def test_only_radiographs_are_films(tmp_path: Path) -> None:
    raw = write_film(tmp_path / "raw", modality="DX", mutate=for_processing).series()
    assert raw.instances[0].film is not None
    capture = write_film(tmp_path / "sc", mutate=_set(SOPClassUID=SecondaryCaptureImageStorage)).series()  # type: ignore[arg-type]
    assert capture.instances[0].film is None
