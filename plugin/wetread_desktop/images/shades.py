"""From stored values to grey, and from labels to outlines. NumPy only; the canvas makes pictures of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Window:
    """Window Center and Window Width in the images' own values (PS3.3 C.11.2.1.2)."""

    center: float
    width: float

    def dragged(self, wider: float, brighter: float) -> Window:
        """After a drag, in steps of half a percent of the width: to the right wider, upwards brighter."""
        step = max(self.width, 1.0) * 0.005
        return Window(self.center - brighter * step, max(self.width + wider * step, _NARROWEST * max(self.width, 1.0)))


_NARROWEST = 0.01

CT_PRESETS: tuple[tuple[str, Window], ...] = (
    ("Soft tissue", Window(40.0, 400.0)),
    ("Lung", Window(-600.0, 1500.0)),
    ("Bone", Window(400.0, 1800.0)),
    ("Brain", Window(40.0, 80.0)),
    ("Liver", Window(60.0, 160.0)),
    ("Mediastinum", Window(50.0, 350.0)),
)
"""In Hounsfield units; values as textbooks give them. The names are message ids of the catalogue."""


def grey(values: npt.NDArray[np.generic], window: Window) -> Grey:
    """Values as grey from black to white, linear inside the window (LINEAR_EXACT, PS3.3 C.11.2.1.3.2)."""
    low = window.center - window.width / 2
    scaled = (values.astype(np.float32, copy=False) - np.float32(low)) * np.float32(255.0 / window.width)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def window_of(values: npt.NDArray[Any]) -> Window:
    """A window that shows the middle of a volume, for images that name none: without the darkest and brightest half
    percent."""
    some = values[:: max(1, values.shape[0] // 16), ::4, ::4] if values.ndim == _VOLUME else values
    low, high = np.percentile(some, (0.5, 99.5))
    return Window(float(low + high) / 2, max(float(high - low), 1e-3))


_VOLUME = 3


def outline(labels: Grey) -> Grey:
    """Only the pixels of each structure that touch something else (or the edge of the picture)."""
    inner = np.zeros(labels.shape, bool)
    middle = labels[1:-1, 1:-1]
    inner[1:-1, 1:-1] = (
        (middle == labels[:-2, 1:-1])
        & (middle == labels[2:, 1:-1])
        & (middle == labels[1:-1, :-2])
        & (middle == labels[1:-1, 2:])
    )
    return np.where(inner, 0, labels).astype(np.uint8)


def colour_table(
    colours: dict[int, tuple[int, int, int]], *, opacity: float, hidden: frozenset[int] = frozenset()
) -> list[int]:
    """256 entries 0xAARRGGBB for an indexed picture; what has no colour, or is hidden, is transparent."""
    alpha = round(max(0.0, min(1.0, opacity)) * 255)
    table = [0] * 256
    for value, (red, green, blue) in colours.items():
        if value and value not in hidden:
            table[value] = alpha << 24 | red << 16 | green << 8 | blue
    return table


def heat_table(*, opacity: float) -> list[int]:
    """The same for a heat map: dark red over orange to light yellow, brighter as it rises (safe for all eyes); the
    lower the value the more transparent."""
    table = []
    for value in range(256):
        share = value / 255
        colour = (0.45 + share, share * 1.3 - 0.3, share * 2.0 - 1.4)
        red, green, blue = (round(255 * min(max(c, 0.0), 1.0)) for c in colour)
        table.append(round(255 * opacity * share) << 24 | red << 16 | green << 8 | blue)
    return table
