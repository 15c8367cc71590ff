"""Text on pictures: banner, directions, legend. Pillow's own scalable font, so no font file has to be installed."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw, ImageFont

from wetread.encode.layout import Layout
from wetread.encode.marks import Mark, Rectangle, rectangle
from wetread.encode.planes import patient_direction
from wetread.records.finding import Condition, Detection, Finding, Segment

BANNER_FILL = (120, 0, 0)
BANNER_TEXT = (255, 235, 60)
TEXT = (235, 235, 235)
FAINT = (150, 150, 150)
MAX_ROWS = 12
ROW_HEIGHT = 26
MARGIN = 10
TEXT_SIZE = 18
FOOTER_SIZE = 14
CAPTION_SIZE = 16
COLUMN_WIDTH = 250
"""The legend has as many columns as fit at this width, at most two."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class LegendRow:
    """One line of the legend."""

    colour_rgb: tuple[int, int, int] | None
    text: str


def legend_rows(findings: Sequence[Finding], *, shown: Collection[str]) -> list[LegendRow]:
    """One row for each finding, those with a tracking UID in ``shown`` (drawn in this picture) first.

    Too many are counted instead of listed.
    """
    ordered = sorted(findings, key=lambda f: f.tracking_uid not in shown)
    if len(ordered) <= MAX_ROWS:
        return [_row(f) for f in ordered]
    rest = len(ordered) - (MAX_ROWS - 1)
    return [*(_row(f) for f in ordered[: MAX_ROWS - 1]), LegendRow(None, f"and {rest} more in the report")]


def _row(finding: Finding) -> LegendRow:
    name = drawable(finding.name)
    values = ", ".join(f"{_number(m.value)} {m.unit.value}" for m in finding.measurements if m.unit.value != "%")
    match finding:
        case Detection():
            score = f"score {_number(100 * finding.score)} %"
            return LegendRow(finding.colour_rgb, f"{finding.number}: {name}  {values}, {score}")
        case Condition():
            return LegendRow(None, f"{name}: {called(finding)}")
        case Segment() if finding.voxel_count:
            return LegendRow(finding.colour_rgb, f"{name}  {values}".rstrip())
        case _:
            return LegendRow(None, f"{name}: not found")


def called(condition: Condition) -> str:
    """What the threshold makes of a score, in the words of a picture."""
    score = f"score {_number(100 * condition.score)} %"
    if condition.words:
        score = f"{condition.words}, {_number(100 * condition.score)} %"
        if condition.threshold is not None:
            return f"{score} - {condition.evaluation.value.upper()} (threshold {_number(100 * condition.threshold)} %)"
    if condition.threshold is None:
        return f"{score}, no threshold: not called"
    evaluation = condition.evaluation.value
    return f"{evaluation.upper()}, {score}, threshold {_number(100 * condition.threshold)} %"


def _number(value: float) -> str:
    """Three digits that matter, never fewer than are known to be asked for: 1432, 15.6, 0.034."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _columns(rows: Sequence[LegendRow], width: int) -> int:
    return 1 if len(rows) <= 2 else max(1, min(2, width // COLUMN_WIDTH))


def legend_height(rows: Sequence[LegendRow], width: int, footer: str) -> int:
    """Height of the strip under the image."""
    lines = -(-len(rows) // _columns(rows, width))
    return 2 * MARGIN + lines * ROW_HEIGHT + (ROW_HEIGHT if footer else 0)


def draw_banner(draw: ImageDraw.ImageDraw, width: int, height: int, parts: Sequence[str]) -> None:
    """The warning across the top, as large as fits."""
    draw.rectangle((0, 0, width - 1, height - 1), fill=BANNER_FILL)
    text = drawable("   |   ".join(parts))
    draw.text(
        (width / 2, height / 2), text, fill=BANNER_TEXT, font=fitting(draw, text, width - 2 * MARGIN, 24), anchor="mm"
    )


def draw_directions(
    draw: ImageDraw.ImageDraw, layout: Layout, right: npt.NDArray[np.float64], down: npt.NDArray[np.float64]
) -> None:
    """Where the four edges of the image lie in the patient (PS3.3 C.7.6.1.1.1)."""
    draw_letters(draw, layout, *(patient_direction(d) for d in (right, -right, down, -down)))


def draw_letters(draw: ImageDraw.ImageDraw, layout: Layout, right: str, left: str, bottom: str, top: str) -> None:
    """What lies towards each edge of the image, in the letters of Patient Orientation."""
    middle_x, middle_y = layout.left + layout.size[0] / 2, layout.top + layout.height / 2
    edge_right, edge_bottom = layout.left + layout.size[0] - 6, layout.top + layout.height - 6
    for letters, place, anchor in (
        (right, (edge_right, middle_y), "rm"),
        (left, (layout.left + 6, middle_y), "lm"),
        (bottom, (middle_x, edge_bottom), "mb"),
        (top, (middle_x, layout.top + 6), "mt"),
    ):
        draw.text(place, letters, fill=TEXT, font=_font(20), anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def draw_captions(draw: ImageDraw.ImageDraw, marks: Iterable[Mark], layout: Layout) -> None:
    """Number and score above each box, or below where there is no room; never beyond the image."""
    for mark in marks:
        if isinstance(mark, Rectangle):
            left, top, _, bottom = rectangle(mark.finding, layout)
            width, height = draw.textlength(mark.caption, font=_font(CAPTION_SIZE)), CAPTION_SIZE + 4
            x = min(left, layout.size[0] - width - 4)
            y = top - height if top >= height else min(bottom + 2, layout.height - height)
            place = (layout.left + max(2, x), layout.top + y)
            colour, font = mark.finding.colour_rgb, _font(CAPTION_SIZE)
            draw.text(place, mark.caption, fill=colour, font=font, anchor="la", stroke_width=2, stroke_fill=(0, 0, 0))


def draw_legend(draw: ImageDraw.ImageDraw, rows: Sequence[LegendRow], layout: Layout, footer: str) -> None:
    """Colour, name and size of each finding, under the image."""
    columns = _columns(rows, layout.width)
    lines = -(-len(rows) // columns)
    column_width = (layout.width - 2 * MARGIN) // columns
    top = layout.top + layout.height + MARGIN
    for number, row in enumerate(rows):
        x, y = MARGIN + (number // lines) * column_width, top + (number % lines) * ROW_HEIGHT
        _draw_row(draw, row, (x, y), column_width)
    if footer:
        footer = drawable(footer)
        place = (MARGIN, top + lines * ROW_HEIGHT + ROW_HEIGHT / 2)
        font = fitting(draw, footer, layout.width - 2 * MARGIN, FOOTER_SIZE)
        draw.text(place, footer, fill=FAINT, font=font, anchor="lm")


def _draw_row(draw: ImageDraw.ImageDraw, row: LegendRow, place: tuple[int, int], width: int) -> None:
    x, y = place
    if row.colour_rgb:
        draw.rectangle((x, y + 5, x + 16, y + ROW_HEIGHT - 6), fill=row.colour_rgb)
    indent = 24
    font = fitting(draw, row.text, width - indent - MARGIN, TEXT_SIZE)
    draw.text((x + indent, y + ROW_HEIGHT / 2), row.text, fill=TEXT, font=font, anchor="lm")


def drawable(text: str) -> str:
    """``text`` in the ASCII that Pillow's own font has; accents are dropped, what has no base letter becomes ``?``.

    The objects' text attributes keep the true spelling.
    """
    dashed = text.replace("–", "-").replace("—", "-").replace("ß", "ss")
    letters = (c for c in unicodedata.normalize("NFKD", dashed) if not unicodedata.combining(c))
    return "".join(letters).encode("ascii", "replace").decode("ascii")


def fitting(draw: ImageDraw.ImageDraw, text: str, width: float, size: int) -> Font:
    """The font at ``size``, or smaller until ``text`` fits into ``width``."""
    while size > 9 and draw.textlength(text, font=_font(size)) > width:
        size -= 1
    return _font(size)


@cache
def _font(size: int) -> Font:
    """Pillow's own font."""
    return ImageFont.load_default(size=size)
