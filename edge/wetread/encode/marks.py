"""What is drawn on a slice: the outline of each segment, the rectangle of each box. Nothing else lies on the image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from wetread.encode.layout import Layout
from wetread.records.finding import Detection, Finding, Segment
from wetread.records.output import Masks, mask_on_slice
from wetread.records.reading import Reading
from wetread.records.volume import LabelMap

LINE_WIDTH = 2
DASH = 8


@dataclass(frozen=True, slots=True)
class Outline:
    """The rim of one structure."""

    finding: Segment
    mask: npt.NDArray[np.bool_]
    """``(row, column)`` of the plane it is drawn on."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """One detected box."""

    finding: Detection

    @property
    def caption(self) -> str:
        """Its number in the legend, and its score."""
        return f"{self.finding.number}: {100 * self.finding.score:.0f} %"


Mark = Outline | Rectangle


def marks_on_slice(reading: Reading, index: int) -> tuple[Mark, ...]:
    """What there is to draw on one slice, in the order of the findings."""
    output = reading.output
    if isinstance(output, LabelMap | Masks):
        masks = ((f, mask_on_slice(output, f.label_value, index)) for f in found_segments(reading.findings))
        return tuple(Outline(finding, mask) for finding, mask in masks if mask.any())
    return tuple(Rectangle(f) for f in reading.findings if isinstance(f, Detection) and crosses(f, index))


def outlines_of(labels: npt.NDArray[np.uint8], findings: Iterable[Finding]) -> tuple[Mark, ...]:
    """Outlines on one plane of a label map."""
    here = set(np.unique(labels).tolist())
    return tuple(Outline(f, labels == f.label_value) for f in found_segments(findings) if f.label_value in here)


def found_segments(findings: Iterable[Finding]) -> Iterator[Segment]:
    """Structures with at least one voxel."""
    return (f for f in findings if isinstance(f, Segment) and f.voxel_count)


def crosses(detection: Detection, index: int) -> bool:
    """Whether the box reaches the middle of slice ``index``, or is thinner than a slice and lies on it."""
    return detection.low[0] <= index <= detection.high[0] or detection.slice_index == index


def draw_marks(image: Image.Image, marks: Sequence[Mark], layout: Layout) -> None:
    """Draw on the image alone, which has the size that ``layout`` gives it."""
    _draw_outlines(image, [mark for mark in marks if isinstance(mark, Outline)], layout)
    draw = ImageDraw.Draw(image)
    for detection in (mark.finding for mark in marks if isinstance(mark, Rectangle)):
        draw.rectangle(rectangle(detection, layout), outline=detection.colour_rgb, width=LINE_WIDTH)


def _draw_outlines(image: Image.Image, outlines: Sequence[Outline], layout: Layout) -> None:
    """Where rims of overlapping structures run together they take turns in dashes, so that none hides another."""
    rims = [outline(mark.mask, layout) for mark in outlines]
    if not rims:
        return
    x, y = np.arange(layout.size[0]), np.arange(layout.height)[:, None]
    turns = (x + y) // DASH % np.maximum(np.sum(rims, axis=0, dtype=np.uint8), 1)
    before = np.zeros_like(turns)
    for mark, rim in zip(outlines, rims, strict=True):
        image.paste(mark.finding.colour_rgb, (0, 0), Image.fromarray(rim & (turns == before)))
        before += rim


def outline(mask: npt.NDArray[np.bool_], layout: Layout) -> npt.NDArray[np.bool_]:
    """The rim of ``mask`` at picture resolution, 2 pixels wide, inside the voxels of the mask.

    Where the mask reaches the border of the image the rim runs along the border.
    """
    large = np.asarray(Image.fromarray(mask).resize(layout.size, Image.Resampling.NEAREST))
    inner = ndimage.binary_erosion(large, structure=np.ones((3, 3)), iterations=LINE_WIDTH)
    rim: npt.NDArray[np.bool_] = large & ~inner
    return rim


def rectangle(detection: Detection, layout: Layout) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a box in pixels of the image as it is drawn, all inside it."""
    left, top = _on_image(detection.low, layout)
    right, bottom = _on_image(detection.high, layout)
    return left, top, max(left, right - 1), max(top, bottom - 1)


def _on_image(corner: tuple[float, float, float], layout: Layout) -> tuple[int, int]:
    """The picture pixel that begins at this corner."""
    _, row, column = corner
    return round((column + 0.5) * layout.scale_x), round((row + 0.5) * layout.scale_y)
