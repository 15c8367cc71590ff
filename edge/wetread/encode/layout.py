"""Where the image lies in a picture, and which picture pixel shows which source pixel."""

from __future__ import annotations

from dataclasses import dataclass

MIN_SIDE = 512
"""The shorter side of the image is at least so many pixels: small matrices would make the text unreadable."""
MAX_SIDE = 1536
"""The longer side is not enlarged beyond this; a long thin plane stays thinner than ``MIN_SIDE``."""
MIN_WIDTH = 400
"""Pictures are at least so wide, whatever the image, so that the banner fits."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The image's rectangle in the picture; scales keep the true aspect ratio."""

    scale_x: float
    """Picture pixels for one source column."""
    scale_y: float
    """Picture pixels for one source row."""
    left: int
    top: int
    size: tuple[int, int]
    """Width and height of the image in the picture."""
    width: int
    """Width of the whole picture."""

    @classmethod
    def fit(cls, shape: tuple[int, ...], spacing_mm: tuple[float, float], *, top: int) -> Layout:
        """Layout for an image of ``shape`` (rows, columns); at least one picture pixel per source pixel."""
        rows, columns = shape[0], shape[1]
        row_mm, column_mm = spacing_mm
        extent_x, extent_y = columns * column_mm, rows * row_mm
        wanted = min(MIN_SIDE / min(extent_x, extent_y), MAX_SIDE / max(extent_x, extent_y))
        pixels_per_mm = max(wanted, 1.0 / min(row_mm, column_mm))
        size = max(1, round(extent_x * pixels_per_mm)), max(1, round(extent_y * pixels_per_mm))
        width = max(size[0], MIN_WIDTH)
        return cls(size[0] / columns, size[1] / rows, (width - size[0]) // 2, top, size, width)

    @property
    def height(self) -> int:
        """Height of the image in the picture."""
        return self.size[1]

    def source_to_canvas(self, row: float, column: float) -> tuple[float, float]:
        """Picture coordinates ``(x, y)`` of a source position; whole numbers are pixel centres on both sides."""
        return self.left + (column + 0.5) * self.scale_x - 0.5, self.top + (row + 0.5) * self.scale_y - 0.5

    def canvas_to_source(self, x: float, y: float) -> tuple[float, float]:
        """Source ``(row, column)`` of a picture position: the inverse of ``source_to_canvas``."""
        return (y - self.top + 0.5) / self.scale_y - 0.5, (x - self.left + 0.5) / self.scale_x - 0.5
