"""The pictures of the page: three planes through the middle of what was found, as PNG inside the page."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from wetread.demo.arrived import Arrived
from wetread.encode.render import NOT_REVIEWED, RESEARCH_ONLY, render_plane, window_of
from wetread.records.volume import Affine

if TYPE_CHECKING:
    from PIL import Image

_Axis = Literal[0, 1, 2]
_PLANES = ("sagittal", "coronal", "axial")
"""By the patient axis (left, posterior, superior) that the plane's normal is closest to."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture for the page."""

    source: str
    """A ``data:`` URI: the page needs no other file."""
    alternative: str
    """For those who do not see it."""
    caption: str
    width: int
    height: int


def planes(arrived: Arrived) -> tuple[Picture, ...]:
    """Axial, coronal, sagittal."""
    return tuple(picture for _, picture in sorted(_planes(arrived), key=lambda named: named[0]))


def key_slices(arrived: Arrived) -> tuple[Picture, ...]:
    """The Secondary Capture series as it arrived."""
    names, count = _names(arrived), arrived.volume.array.shape[0]
    return tuple(
        picture(
            k.picture,
            f"Slice {k.slice_number} as acquired, with the outline of {names}",
            f"Slice {k.slice_number} of {count}",
        )
        for k in arrived.key_slices
    )


def picture(image: Image.Image, alternative: str, caption: str) -> Picture:
    """``image`` with its texts."""
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(source, alternative, caption, image.width, image.height)


def _planes(arrived: Arrived) -> Iterator[tuple[str, Picture]]:
    window = window_of(arrived.volume.array)
    for axis in get_args(_Axis):
        name, angle = _plane_of(arrived.volume.affine, axis)
        index = _middle(arrived, axis)
        image = render_plane(
            arrived.volume,
            arrived.label_map,
            arrived.findings,
            axis,
            index,
            window=window,
            banner=(NOT_REVIEWED, RESEARCH_ONLY),
        )
        caption = f"{name.capitalize()}, {angle:.0f}° oblique" if angle >= 1 else name.capitalize()
        text = f"{name.capitalize()} plane through the head with the outline of {_names(arrived)} from the segmentation"
        yield name, picture(image, text, caption)


def _plane_of(affine: Affine, axis: int) -> tuple[str, float]:
    """What radiologists call the plane, and how far it is turned from the patient's axes, in degrees."""
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(columns[:, axis])
    return _PLANES[int(np.argmax(cosines))], float(np.degrees(np.arccos(np.clip(cosines.max(), 0, 1))))


def _middle(arrived: Arrived, axis: int) -> int:
    """Index of the centre of what was found along one axis; of the volume if nothing was."""
    mask = arrived.label_map.array > 0
    counts = mask.sum(axis=tuple(a for a in range(3) if a != axis))
    return int(np.average(np.arange(counts.size), weights=counts)) if counts.any() else counts.size // 2


def _names(arrived: Arrived) -> str:
    return ", ".join(f.name.lower() for f in arrived.findings) or "nothing"
