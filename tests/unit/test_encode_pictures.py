"""Overlay pictures: right place, true proportions, nothing hidden, nothing cut off."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from wetread.encode.key_slices import MAX_PICTURES, choose_key_slices
from wetread.encode.layout import MIN_SIDE, Layout
from wetread.encode.lettering import MAX_ROWS, drawable, legend_rows
from wetread.encode.marks import Outline, outline
from wetread.encode.planes import patient_direction, reformat
from wetread.encode.render import Plane, Window, render, render_plane, window_of
from wetread.records.coded import CodedTerm
from wetread.records.finding import Finding, Measurement, Segment
from wetread.records.output import ModelOutput
from wetread.records.reading import AlgorithmIdentity, EngineIdentity, Reading
from wetread.records.study import SeriesRef
from wetread.records.volume import LabelMap, Volume

TERM = CodedTerm("1", "SCT", "Thing")
ML = CodedTerm("mL", "UCUM", "mL")


def _finding(value: int, voxels: int = 10, *, name: str = "", role: str = "anatomy") -> Segment:
    volume = Measurement(TERM, 12.345 * value, ML)
    colour = (10 * value, 255 - 10 * value, 77)
    name, uid = name or f"Thing {value}", f"2.25.{value}"
    return Segment(value, name, role, TERM, TERM, None, colour, voxels, (volume,), "t", uid)


def _plane(shape: tuple[int, int] = (40, 60), spacing_mm: tuple[float, float] = (1.5, 0.5)) -> Plane:
    mask = np.zeros(shape, bool)
    mask[10:20, 20:50] = True
    pixels = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    marks = (Outline(_finding(1), mask),)
    return Plane(pixels, spacing_mm, np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), marks)


def _chosen(output: ModelOutput, *findings: Finding) -> tuple[int, ...]:
    algorithm = AlgorithmIdentity("b", "1", "d", "w", "T", EngineIdentity("e", "f32", "1", "cpu", "c"))
    reading = Reading(findings, output, algorithm, "digest", datetime(2026, 1, 1, tzinfo=UTC))
    return choose_key_slices(reading, 60)


sizes = st.integers(2, 600)
spacings = st.floats(0.2, 8)


@given(sizes, sizes, spacings, spacings, st.floats(0, 1), st.floats(0, 1))
def test_layout_maps_there_and_back_inside_the_picture(
    rows: int, columns: int, row_mm: float, column_mm: float, down: float, right: float
) -> None:
    layout = Layout.fit((rows, columns), (row_mm, column_mm), top=34)
    row, column = down * (rows - 1), right * (columns - 1)
    x, y = layout.source_to_canvas(row, column)
    assert layout.canvas_to_source(x, y) == pytest.approx((row, column), abs=1e-6)
    assert layout.left - 1 <= x <= layout.left + layout.size[0]
    assert layout.top - 1 <= y <= layout.top + layout.height


@given(st.integers(16, 512), st.integers(16, 512), st.floats(0.5, 3), st.floats(0.5, 3))
def test_layout_keeps_proportions_and_every_source_pixel(
    rows: int, columns: int, row_mm: float, column_mm: float
) -> None:
    layout = Layout.fit((rows, columns), (row_mm, column_mm), top=0)
    assert layout.scale_x / column_mm == pytest.approx(layout.scale_y / row_mm, rel=0.1)
    assert min(layout.scale_x, layout.scale_y) > 0.99


def test_small_matrix_is_enlarged_until_text_is_readable() -> None:
    assert min(Layout.fit((64, 64), (3.0, 3.0), top=0).size) == MIN_SIDE


def test_outline_is_a_rim_inside_the_mask_at_its_place() -> None:
    plane = _plane()
    layout = plane.layout()
    rim = outline(plane.marks[0].mask, layout)
    rows, columns = np.nonzero(rim)
    top_left = layout.canvas_to_source(float(columns.min()) + layout.left, float(rows.min()) + layout.top)
    bottom_right = layout.canvas_to_source(float(columns.max()) + layout.left, float(rows.max()) + layout.top)
    assert top_left == pytest.approx((9.5, 19.5), abs=0.2)
    assert bottom_right == pytest.approx((19.5, 49.5), abs=0.2)
    x, y = layout.source_to_canvas(15, 35)
    assert not rim[round(y) - layout.top, round(x) - layout.left]


def test_mask_of_the_whole_image_still_has_a_rim() -> None:
    layout = Layout.fit((8, 8), (1.0, 1.0), top=0)
    rim = outline(np.ones((8, 8), bool), layout)
    assert rim[0].all()
    assert not rim[layout.height // 2, layout.size[0] // 2]


def test_picture_has_banner_above_and_legend_below_the_untouched_image() -> None:
    plane, window = _plane(), Window(0, 2400)
    layout = plane.layout()
    picture = render(plane, [_finding(1)], window=window, banner=("AI RESULT – NOT REVIEWED",), footer="foot")
    clean = Image.fromarray(window.apply(plane.pixels)).resize(layout.size, Image.Resampling.BILINEAR)
    image = np.asarray(picture)[layout.top : layout.top + layout.height, layout.left : layout.left + layout.size[0]]
    changed = (image != np.asarray(clean)[..., None]).any(axis=-1)
    assert 0 < changed.mean() < 0.08  # the outline and four letters
    assert (np.asarray(picture)[: layout.top] != 0).any(axis=(1, 2)).all()
    assert np.asarray(picture)[layout.top + layout.height :].any()


@pytest.mark.parametrize("name", ["x" * 64, "Läsion ß – 山", "Brain"])
@pytest.mark.parametrize("shape", [(20, 300), (300, 20), (16, 16)])
def test_text_is_never_cut_off(monkeypatch: pytest.MonkeyPatch, name: str, shape: tuple[int, int]) -> None:
    boxes = []
    draw_text = ImageDraw.ImageDraw.text

    def record(self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, **how: object) -> None:
        boxes.append((self.textbbox(xy, text, font=how["font"], anchor=how["anchor"]), self.im.size))
        draw_text(self, xy, text, **how)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    plane = replace(_plane(), pixels=np.zeros(shape, np.float32), marks=(), spacing_mm=(1, 1))
    banner = ("AI RESULT – NOT REVIEWED", "RESEARCH USE ONLY")
    render(
        plane, [_finding(1, name=name), _finding(2), _finding(3)], window=Window(0, 1), banner=banner, footer="f" * 90
    )
    assert len(boxes) == 9
    for (left, top, right, bottom), (width, height) in boxes:
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= height


def test_legend_lists_what_is_shown_first_and_counts_the_rest() -> None:
    rows = legend_rows([_finding(v) for v in range(1, 21)], shown={"2.25.17"})
    assert len(rows) == MAX_ROWS
    assert rows[0].text.startswith("Thing 17  210 mL")
    assert rows[-1].text == "and 9 more in the report"


def test_legend_says_what_was_not_found() -> None:
    (row,) = legend_rows([_finding(1, 0)], shown=())
    assert (row.text, row.colour_rgb) == ("Thing 1: not found", None)


def test_text_is_drawn_with_letters_the_font_has() -> None:
    assert drawable("Läsion – groß 山") == "Lasion - gross ?"


def _labels(*extents: tuple[int, int, int], slices: int = 60) -> npt.NDArray[np.uint8]:
    """``(label, first slice, last slice)``: a wedge that grows from slice to slice."""
    array = np.zeros((slices, 80, 80), np.uint8)
    for label, first, last in extents:
        for k in range(first, last + 1):
            array[k, 10 : 10 + k - first + 1, 10 * label : 10 * label + 5] = label
    return array


def test_key_slices_hold_the_largest_area_and_spread_over_the_extent() -> None:
    chosen = _chosen(LabelMap(_labels((1, 10, 50)), np.eye(4)), _finding(1))
    assert 50 in chosen
    assert len(chosen) == MAX_PICTURES
    assert list(chosen) == sorted(set(chosen))
    assert all(10 <= k <= 50 for k in chosen)
    assert np.diff(chosen).min() >= 0.8 * np.diff(chosen).max()


def test_key_slices_never_nearly_coincide() -> None:
    """Largest in the middle: the evenly spread places then include one right beside it."""
    array = np.zeros((60, 80, 80), np.uint8)
    for k in range(2, 58):
        array[k, :, : 30 - abs(k - 31)] = 1
    chosen = _chosen(LabelMap(array, np.eye(4)), _finding(1))
    assert 31 in chosen
    assert len(chosen) == MAX_PICTURES
    assert np.diff(chosen).min() >= 6


def test_structure_of_two_slices_gets_one_picture() -> None:
    assert _chosen(LabelMap(_labels((1, 20, 21)), np.eye(4)), _finding(1)) == (21,)


def test_abnormality_already_shown_well_gets_no_picture_of_its_own() -> None:
    findings = (_finding(1, 1000), _finding(2, 10, role="finding"))
    chosen = _chosen(LabelMap(_labels((1, 20, 55), (2, 20, 56)), np.eye(4)), *findings)
    assert 55 in chosen
    assert 56 not in chosen


def test_small_abnormality_far_from_the_rest_is_shown_where_it_is_largest() -> None:
    findings = (_finding(1, 1000), _finding(2, 3, role="finding"))
    assert 4 in _chosen(LabelMap(_labels((1, 20, 55), (2, 2, 4)), np.eye(4)), *findings)


def test_middle_slice_is_shown_when_nothing_was_found() -> None:
    assert _chosen(LabelMap(np.zeros((60, 2, 2), np.uint8), np.eye(4))) == (30,)


@pytest.mark.parametrize(
    ("direction", "letters"),
    [((1, 0, 0), "L"), ((-1, 0, 0), "R"), ((0, 1, 0), "P"), ((0, 0, -1), "F"), ((0, -0.8, 0.6), "AH")],
)
def test_direction_has_the_letters_of_patient_orientation(direction: tuple[float, float, float], letters: str) -> None:
    assert patient_direction(np.array(direction, float)) == letters


AXES = {
    "axial": [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
    "coronal": [[0, 0, 1], [1, 0, 0], [0, -1, 0]],
    "sagittal": [[0, 1, 0], [0, 0, -1], [-1, 0, 0]],
    "upside down": [[0, 0, -1], [0, -1, 0], [-1, 0, 0]],
}
"""Rows are x, y, z (LPS); columns are the slice, row and column axis of the grid."""


@pytest.mark.parametrize("name", AXES)
def test_planes_are_turned_as_radiologists_look_at_them(name: str) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.array(AXES[name], float) @ np.diag((2.0, 1.0, 0.5))
    array = np.zeros((6, 8, 10), np.float32)
    volume = Volume(array, affine, SeriesRef("1", "MR", ()), (), "")
    allowed = {("L", "P"), ("L", "F"), ("P", "F")}
    seen = set()
    for axis in (0, 1, 2):
        _, _, _, right, down = reformat(volume, LabelMap(array.astype(np.uint8), affine), axis, 0)
        seen.add((patient_direction(right), patient_direction(down)))
    assert seen == allowed


def test_plane_shows_the_voxel_where_the_letters_say() -> None:
    affine = np.diag((0.0, 0.0, 0.0, 1.0))
    affine[:3, :3] = np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]])  # columns run towards the patient's right
    array = np.zeros((4, 40, 40), np.float32)
    array[:, 19:22, 1:4] = 1.0  # far left in the patient
    volume = Volume(array, affine, SeriesRef("1", "MR", ()), (), "")
    picture = np.asarray(render_plane(volume, LabelMap(np.zeros(array.shape, np.uint8), affine), [], 0, 1).convert("L"))
    bright = np.argwhere(picture == 255)
    assert bright[:, 1].mean() > 450  # the left of the patient is on the right of the picture


def test_window_without_header_ignores_air_and_outliers() -> None:
    rng = np.random.default_rng(0)
    array = np.where(rng.random((8, 50, 50)) < 0.5, 0, rng.normal(500, 50, (8, 50, 50))).astype(np.float32)
    array[0, 0, 0] = 1e6
    window = window_of(array)
    assert 300 < window.low < 450
    assert 550 < window.high < 800
    assert window_of(np.zeros((2, 2, 2), np.float32)).apply(np.zeros((2, 2), np.float32)).max() == 0


def test_values_that_are_no_numbers_are_drawn_black() -> None:
    assert Window(0, 1).apply(np.array([[np.nan, 2.0]], np.float32)).tolist() == [[0, 255]]
