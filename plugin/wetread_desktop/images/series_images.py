"""The images of one series as the window holds them: a volume that fills while one looks, or one film. No Qt.

The pixels are for looking only. What a bundle reads are the files themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from wetread.dimse.attributes import decimals
from wetread.errors import MemoryShort, StudyRejected, WetreadError
from wetread.images.film import read_radiograph
from wetread.images.geometry import arrange
from wetread.images.pixels import rescale_of, stored_values
from wetread.memory import available_mb
from wetread.records.radiograph import Turn
from wetread.records.sop_classes import is_film
from wetread.records.study import InstanceRef, SeriesRef
from wetread_desktop.images.headers import Headers, Pixels, kind_of
from wetread_desktop.images.shades import Window, window_of

_FEWEST_SLICES = 2
_SPARE_MB = 512
"""Left to everything else that runs beside the images."""


@dataclass(slots=True)
class Images:
    """One series on a grid."""

    series: SeriesRef
    array: Pixels
    """``(slice, row, column)``, modality values (HU for CT); slices that are not read yet are 0. A film has one slice,
    float32, 0 to 1."""
    affine: npt.NDArray[np.float64] | None
    """Indices to LPS mm; None for a film, which lies nowhere."""
    instances: tuple[InstanceRef, ...]
    """The file of each slice."""
    frame_of_reference_uid: str
    window: Window
    pixel_mm: tuple[float, float] | None
    """Of a film: between rows and between columns, where it says so."""
    film: Turn | None = None
    """How a film was turned to hang upright; None for a volume."""
    patient_orientation: tuple[str, str] = ("", "")
    """Of a film: where its rows, then its columns point."""
    read: npt.NDArray[np.bool_] = field(default_factory=lambda: np.ones(1, bool))
    """Which slices are there."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        slices, rows, columns = self.array.shape
        return slices, rows, columns

    @property
    def is_film(self) -> bool:
        """Whether this is one radiograph."""
        return self.film is not None

    def slice_of(self, sop_instance_uid: str) -> int | None:
        """Index of the slice that this instance holds."""
        for k, instance in enumerate(self.instances):
            if instance.sop_instance_uid == sop_instance_uid:
                return k
        return None


def open_images(series: SeriesRef, headers: Headers | None = None) -> Images:
    """Order the slices by their headers and read the middle one, so that there is something to see; ``fill`` reads the
    rest.

    ``headers``: of the files that were opened; what is not in it is read here. A series of films opens the first one.
    Raises: ``StudyRejected`` with the reason when it cannot be shown; ``MemoryShort``.
    """
    if is_film(series.instances[0].sop_class_uid):
        return _film(series, series.instances[0])
    if len(series.instances) < _FEWEST_SLICES:
        raise NotShown(f"{series.label} is a single image without neighbours; the window shows volumes and films")
    known = Headers() if headers is None else headers
    slices = [known.of(instance) for instance in series.instances]
    grid = arrange([item.slice.plane for item in slices])
    instances = tuple(slices[k].slice.instance for k in grid.order)
    plane = slices[grid.order[0]].slice.plane
    array = _room((len(slices), plane.rows, plane.columns), kind_of(slices))
    middle = len(slices) // 2
    ds = _read_into(array[middle], instances[middle])
    read = np.zeros(len(slices), bool)
    read[middle] = True
    return Images(
        series=series,
        array=array,
        affine=grid.affine,
        instances=instances,
        frame_of_reference_uid=plane.frame_of_reference_uid,
        window=_window(ds, array[middle]),
        pixel_mm=None,
        read=read,
    )


def fill(images: Images, *, stopped: Callable[[], bool], came: Callable[[int], None]) -> str:
    """Read the slices that are missing, from the middle outwards. For a thread of its own.

    ``stopped`` is asked before each slice; ``came`` is told each index. Returns: what could not be read, as a sentence.
    """
    slices = images.shape[0]
    problem = ""
    for k in sorted(range(slices), key=lambda k: abs(k - slices // 2)):
        if stopped():
            break
        if images.read[k]:
            continue
        try:
            _read_into(images.array[k], images.instances[k])
        except (WetreadError, OSError, MemoryError) as exc:
            problem = problem or f"not all images could be read: {str(exc) or 'there is not enough memory'}"
            continue
        images.read[k] = True
        came(k)
    return problem


class NotShown(StudyRejected):
    """The window has no way to show it."""

    code = "not-shown"


def _room(shape: tuple[int, int, int], kind: np.dtype[Any]) -> Pixels:
    """Zeros, if there is room for them. Raises: ``MemoryShort``; a system that promises too much would end us later."""
    wanted_mb, free_mb = math.prod(shape) * kind.itemsize / 2**20, available_mb()
    if wanted_mb > free_mb - _SPARE_MB:
        raise MemoryShort(
            f"these {shape[0]} images need {wanted_mb:.0f} MB of memory, {free_mb:.0f} MB are free; close programs "
            "or open a shorter series"
        )
    return np.zeros(shape, kind)


def _read_into(picture: npt.NDArray[Any], instance: InstanceRef) -> Dataset:
    """Stored values × Rescale Slope + Rescale Intercept (PS3.3 C.11.1) of one file into its ``(row, column)``; its
    header is returned. Raises: as ``wetread.images.pixels.decode``."""
    rows, columns = picture.shape
    ds, stored = stored_values(instance, rows=rows, columns=columns)
    slope, intercept = rescale_of(ds, instance.label)
    if slope == 1 and intercept == 0 and np.can_cast(stored.dtype, picture.dtype):
        picture[...] = stored
        return ds
    values = np.multiply(stored, slope, dtype=np.float32)
    values += np.float32(intercept)
    if picture.dtype.kind != "f":
        limits = np.iinfo(picture.dtype)
        np.clip(values, limits.min, limits.max, out=values)
    picture[...] = values
    return ds


def _film(series: SeriesRef, instance: InstanceRef) -> Images:
    narrowed = SeriesRef(series.series_instance_uid, series.modality, (instance,), series.description, series.number)
    film = read_radiograph(narrowed)
    return Images(
        series=series,
        array=film.array[np.newaxis],
        affine=None,
        instances=(instance,),
        frame_of_reference_uid="",
        window=Window(0.5, 1.0),
        pixel_mm=film.spacing_mm,
        film=film.turn,
        patient_orientation=film.patient_orientation,
    )


def _window(ds: Dataset, values: npt.NDArray[Any]) -> Window:
    """The first window the image names (in modality values), else one from its values."""
    centers, widths = decimals(ds, "WindowCenter"), decimals(ds, "WindowWidth")
    if centers and widths and widths[0] > 0:
        return Window(centers[0], widths[0])
    return window_of(values)
