"""The card of a film: the film upright, where the model looked, what it says in words, and that nobody reviewed it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from wetread.encode.layout import Layout
from wetread.encode.lettering import (
    BANNER_TEXT,
    FAINT,
    FOOTER_SIZE,
    MARGIN,
    TEXT,
    called,
    draw_banner,
    draw_letters,
    drawable,
    fitting,
)
from wetread.records.finding import Condition, Evaluation, Finding
from wetread.records.heat_map import HeatMap
from wetread.records.radiograph import Radiograph
from wetread.records.reading import Reading
from wetread.records.spread import Spread
from wetread.records.wording import steadiness

BANNER_HEIGHT = 40
SHORTER_SIDE, LONGER_SIDE = 512, 1024
"""Pixels of the film on the card: a card is to be looked at, the film itself is in the archive."""
_LINE = 34
_SMALL_LINE = 24
_PRESENT = (255, 170, 60)
_OPPOSITE = str.maketrans("LRAPHF", "RLPAFH")
_STRONGEST = 0.55
"""Opacity of a heat map at its largest value."""


def film_card(
    film: Radiograph, reading: Reading, heat_maps: Sequence[HeatMap], *, banner: Sequence[str], footer: str
) -> Image.Image:
    """The film, beside it once more with the heat map of each condition that has one, and the conditions below."""
    layout = _layout(film, top=BANNER_HEIGHT)
    panels = [_grey(film, layout), *(_heated(film, heat_map, layout) for heat_map in heat_maps)]
    lines = list(_lines(reading, heat_maps))
    width = layout.size[0] * len(panels)
    height = layout.top + layout.height + 2 * MARGIN + sum(size for _, _, size in lines) + _SMALL_LINE
    card = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(card)
    draw_banner(draw, width, BANNER_HEIGHT, banner)
    for number, panel in enumerate(panels):
        card.paste(panel, (number * layout.size[0], layout.top))
    _draw_sides(draw, film, layout)
    _draw_lines(draw, [*lines, (footer, FAINT, _SMALL_LINE)], top=layout.top + layout.height + MARGIN, width=width)
    return card


def _layout(film: Radiograph, *, top: int) -> Layout:
    """The whole film at its true aspect ratio; one panel is as wide as the film."""
    rows, columns = film.array.shape
    row_mm, column_mm = film.spacing_mm or (1.0, 1.0)
    extent_x, extent_y = columns * column_mm, rows * row_mm
    scale = min(SHORTER_SIDE / min(extent_x, extent_y), LONGER_SIDE / max(extent_x, extent_y))
    size = max(1, round(extent_x * scale)), max(1, round(extent_y * scale))
    return Layout(size[0] / columns, size[1] / rows, 0, top, size, size[0])


def _grey(film: Radiograph, layout: Layout) -> Image.Image:
    return Image.fromarray(_bytes(film.array)).resize(layout.size, Image.Resampling.BICUBIC).convert("RGB")


def _heated(film: Radiograph, heat_map: HeatMap, layout: Layout) -> Image.Image:
    """From clear over red to yellow, on the film; the map lies on the stored matrix and is turned with the film."""
    heat = Image.fromarray(_bytes(film.turn.hang(heat_map.array))).resize(layout.size, Image.Resampling.BICUBIC)
    share = np.asarray(heat, np.float32)[..., None] / 255.0
    colour = np.concatenate([np.full_like(share, 255.0), 255.0 * share, np.zeros_like(share)], axis=2)
    opacity = _STRONGEST * np.sqrt(share)
    mixed = (1.0 - opacity) * np.asarray(_grey(film, layout), np.float32) + opacity * colour
    return Image.fromarray(mixed.astype(np.uint8))


def _bytes(array: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    scaled: npt.NDArray[np.uint8] = (np.clip(np.nan_to_num(array), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return scaled


def _draw_sides(draw: ImageDraw.ImageDraw, film: Radiograph, layout: Layout) -> None:
    right, down = film.patient_orientation
    if right and down:
        draw_letters(draw, layout, right, right.translate(_OPPOSITE), down, down.translate(_OPPOSITE))


_Line = tuple[str, tuple[int, int, int], int]
"""Text, colour and height of one line."""


def _lines(reading: Reading, heat_maps: Sequence[HeatMap]) -> list[_Line]:
    lines = [line for finding in reading.findings for line in _finding_lines(finding)]
    by_uid = {finding.tracking_uid: finding.name for finding in reading.findings}
    for heat_map in heat_maps:
        what = by_uid.get(heat_map.tracking_uid, "the score")
        lines.append((f"Colour: what moved the score of {what} ({heat_map.method}), no outline", FAINT, _SMALL_LINE))
    lines += [(f"Outside intended use: {reason}", BANNER_TEXT, _SMALL_LINE) for reason in reading.outside]
    return lines


def _finding_lines(finding: Finding) -> Iterator[_Line]:
    colour = _PRESENT if finding.evaluation is Evaluation.PRESENT else TEXT
    said = called(finding) if isinstance(finding, Condition) else finding.evaluation.value
    yield f"{finding.name}: {said}", colour, _LINE
    if isinstance(finding, Condition) and finding.spread:
        steady = steadiness(finding)
        yield f"{steady[0].upper()}{steady[1:]}", _PRESENT if _turns(finding, finding.spread) else FAINT, _SMALL_LINE


def _turns(condition: Condition, spread: Spread) -> bool:
    """Whether a slightly changed film is called otherwise."""
    threshold = condition.threshold
    return threshold is not None and 0 < spread.reached(threshold) + (condition.score >= threshold) <= len(
        spread.values
    )


def _draw_lines(draw: ImageDraw.ImageDraw, lines: Sequence[_Line], *, top: int, width: int) -> None:
    for text, colour, height in lines:
        size = FOOTER_SIZE if height == _SMALL_LINE else height - 10
        shown = drawable(text)
        place = (MARGIN, top + height / 2)
        draw.text(place, shown, fill=colour, font=fitting(draw, shown, width - 2 * MARGIN, size), anchor="lm")
        top += height
