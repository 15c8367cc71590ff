"""Where voxels are: four rows of four numbers, without NumPy."""

from __future__ import annotations

from wetread_desktop.host import Affine, Point

Shape = tuple[int, int, int]
"""``(slices, rows, columns)``."""
Index = tuple[float, float, float]
"""``(slice, row, column)``; voxel centres are whole numbers."""

__all__ = ["Affine", "Index", "Point", "Shape", "box_corners", "index_at", "point_at"]


def point_at(affine: Affine, index: Index) -> Point:
    """LPS mm of a voxel index."""
    x, y, z = (sum(a * i for a, i in zip(row[:3], index, strict=True)) + row[3] for row in affine[:3])
    return x, y, z


def index_at(affine: Affine, point: Point) -> Index:
    """Voxel index of a point in LPS mm: Cramer's rule. Raises: ``ZeroDivisionError`` for an affine without volume."""
    (a, b, c), (d, e, f), (g, h, i) = (row[:3] for row in affine[:3])
    x, y, z = (p - row[3] for p, row in zip(point, affine[:3], strict=True))
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        (x * (e * i - f * h) - b * (y * i - f * z) + c * (y * h - e * z)) / determinant,
        (a * (y * i - f * z) - x * (d * i - f * g) + c * (d * z - y * g)) / determinant,
        (a * (e * z - y * h) - b * (d * z - y * g) + x * (d * h - e * g)) / determinant,
    )


def box_corners(affine: Affine, centre_mm: Point, size_mm: tuple[float, float, float]) -> tuple[Index, Index]:
    """Lowest and highest index of a box given by its centre and its size along the three index axes (mm)."""
    centre = index_at(affine, centre_mm)
    half = [size / 2 / (sum(row[axis] ** 2 for row in affine[:3]) ** 0.5) for axis, size in enumerate(size_mm)]
    low = (centre[0] - half[0], centre[1] - half[1], centre[2] - half[2])
    high = (centre[0] + half[0], centre[1] + half[1], centre[2] + half[2])
    return low, high
