"""Pictures of an image with outlines, names and a warning: arrays in, pictures out. No DICOM here.

A picture is, from top to bottom: the banner, the image, the legend. Nothing but outlines, boxes and small letters lies
on the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from wetread.encode.layout import Layout
from wetread.encode.lettering import (
    draw_banner,
    draw_captions,
    draw_directions,
    draw_legend,
    legend_height,
    legend_rows,
)
from wetread.encode.marks import Mark, draw_marks, outlines_of
from wetread.encode.planes import reformat
from wetread.records.finding import Finding
from wetread.records.volume import LabelMap, Volume

BACKGROUND = (0, 0, 0)
BANNER_HEIGHT = 34
NOT_REVIEWED = "AI RESULT – NOT REVIEWED"
RESEARCH_ONLY = "RESEARCH USE ONLY"
NOT_FOR_CLINICAL_USE = "NOT FOR CLINICAL USE"
OUTSIDE = "OUTSIDE INTENDED USE"


@dataclass(frozen=True, slots=True)
class Window:
    """Which values are shown from black to white."""

    low: float
    high: float

    def apply(self, pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """8-bit grey values."""
        scaled = (pixels - self.low) / max(self.high - self.low, 1e-6)
        grey: npt.NDArray[np.uint8] = (np.clip(np.nan_to_num(scaled), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        return grey


def window_of(array: npt.NDArray[np.float32]) -> Window:
    """A window for images that bring none: the 1st to the 99.5th percentile of what is not the darkest value."""
    sample = array[:: max(1, array.shape[0] // 32)]
    bright = sample[sample > sample.min()]
    if bright.size == 0:
        return Window(float(sample.min()), float(sample.min()) + 1.0)
    low, high = np.percentile(bright, (1.0, 99.5))
    return Window(float(low) if low < high else float(sample.min()), float(high))


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane to be drawn."""

    pixels: npt.NDArray[np.float32]
    """``(row, column)`` in modality values."""
    spacing_mm: tuple[float, float]
    """Distance between neighbouring rows and between neighbouring columns."""
    row_direction: npt.NDArray[np.float64]
    """LPS unit vector along increasing column index: to the right of the picture."""
    column_direction: npt.NDArray[np.float64]
    """LPS unit vector along increasing row index: down the picture."""
    marks: tuple[Mark, ...] = ()

    def layout(self) -> Layout:
        """Where this plane lies in its picture."""
        return Layout.fit(self.pixels.shape, self.spacing_mm, top=BANNER_HEIGHT)


def slice_plane(volume: Volume, index: int, marks: tuple[Mark, ...] = ()) -> Plane:
    """One slice as it was acquired, so that it lies over its source image in a viewer."""
    _, row_mm, column_mm = volume.spacing_mm
    return Plane(
        pixels=volume.array[index],
        spacing_mm=(row_mm, column_mm),
        row_direction=volume.affine[:3, 2] / column_mm,
        column_direction=volume.affine[:3, 1] / row_mm,
        marks=marks,
    )


def render_plane(
    volume: Volume,
    label_map: LabelMap,
    findings: Sequence[Finding],
    axis: Literal[0, 1, 2],
    index: int,
    *,
    window: Window | None = None,
    banner: Sequence[str] = (NOT_REVIEWED,),
) -> Image.Image:
    """One of the three orthogonal planes of the volume, turned as a radiologist looks at it.

    Head (in axial planes: front) of the patient up, the patient's left on the right of the picture, front on the left
    in sagittal planes. ``axis`` and ``index`` name the plane in the volume's ``(slice, row, column)`` grid.
    """
    pixels, labels, spacing, right, down = reformat(volume, label_map, axis, index)
    plane = Plane(pixels, spacing, right, down, outlines_of(labels, findings))
    return render(plane, findings, window=window or window_of(volume.array), banner=banner)


def render(
    plane: Plane, findings: Sequence[Finding], *, window: Window, banner: Sequence[str], footer: str = ""
) -> Image.Image:
    """Draw one plane with the outline or box of each finding in its colour; the legend lists all ``findings``."""
    layout = plane.layout()
    rows = legend_rows(findings, shown={mark.finding.tracking_uid for mark in plane.marks})
    height = layout.top + layout.height + legend_height(rows, layout.width, footer)
    picture = Image.new("RGB", (layout.width, height), BACKGROUND)
    picture.paste(_marked(plane, window, layout), (layout.left, layout.top))
    draw = ImageDraw.Draw(picture)
    draw_banner(draw, layout.width, BANNER_HEIGHT, banner)
    draw_directions(draw, layout, plane.row_direction, plane.column_direction)
    draw_captions(draw, plane.marks, layout)
    draw_legend(draw, rows, layout, footer)
    return picture


def _marked(plane: Plane, window: Window, layout: Layout) -> Image.Image:
    grey = Image.fromarray(window.apply(plane.pixels))
    image = grey.resize(layout.size, Image.Resampling.BILINEAR).convert("RGB")
    draw_marks(image, plane.marks, layout)
    return image
