"""The images of one series as the window holds them: a volume that fills while one looks, or one film. No Qt.

The pixels are for looking only. What a bundle reads are the files themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from wetread.dimse.attributes import decimals
from wetread.dimse.dataset import read_header
from wetread.errors import StudyRejected, WetreadError
from wetread.images.film import read_radiograph
from wetread.images.geometry import arrange
from wetread.images.instance import read_slice
from wetread.images.pixels import decode
from wetread.records.radiograph import Turn
from wetread.records.sop_classes import is_film
from wetread.records.study import InstanceRef, SeriesRef
from wetread_desktop.images.shades import Window, window_of

_FEWEST_SLICES = 2


@dataclass(slots=True)
class Images:
    """One series on a grid."""

    series: SeriesRef
    array: npt.NDArray[np.float32]
    """``(slice, row, column)``, modality values; slices that are not read yet are 0. A film has one slice, 0 to 1."""
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


def open_images(series: SeriesRef) -> Images:
    """Look at all headers and read the middle slice, so that there is something to see; ``fill`` reads the rest.

    A series of films opens the first one. Raises: ``StudyRejected`` with the reason when it cannot be shown.
    """
    if is_film(series.instances[0].sop_class_uid):
        return _film(series, series.instances[0])
    if len(series.instances) < _FEWEST_SLICES:
        raise NotShown(f"{series.label} is a single image without neighbours; the window shows volumes and films")
    slices = [read_slice(instance) for instance in series.instances]
    grid = arrange([item.plane for item in slices])
    ordered = [slices[k] for k in grid.order]
    plane = ordered[0].plane
    array = np.zeros((len(ordered), plane.rows, plane.columns), np.float32)
    middle = len(ordered) // 2
    array[middle] = decode(ordered[middle].instance, rows=plane.rows, columns=plane.columns)
    read = np.zeros(len(ordered), bool)
    read[middle] = True
    return Images(
        series=series,
        array=array,
        affine=grid.affine,
        instances=tuple(item.instance for item in ordered),
        frame_of_reference_uid=plane.frame_of_reference_uid,
        window=_window(ordered[middle].instance, array[middle]),
        pixel_mm=None,
        read=read,
    )


def fill(images: Images, *, stopped: Callable[[], bool], came: Callable[[int], None]) -> str:
    """Read the slices that are missing, from the middle outwards. For a thread of its own.

    ``stopped`` is asked before each slice; ``came`` is told each index. Returns: what could not be read, as a sentence.
    """
    slices, rows, columns = images.shape
    problem = ""
    for k in sorted(range(slices), key=lambda k: abs(k - slices // 2)):
        if stopped():
            break
        if images.read[k]:
            continue
        try:
            images.array[k] = decode(images.instances[k], rows=rows, columns=columns)
        except WetreadError as exc:
            problem = problem or f"not all images could be read: {exc}"
            continue
        images.read[k] = True
        came(k)
    return problem


class NotShown(StudyRejected):
    """The window has no way to show it."""

    code = "not-shown"


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


def _window(instance: InstanceRef, values: npt.NDArray[np.float32]) -> Window:
    """The first window the image names (in modality values), else one from its values."""
    ds = read_header(instance.path)
    centers, widths = decimals(ds, "WindowCenter"), decimals(ds, "WindowWidth")
    if centers and widths and widths[0] > 0:
        return Window(centers[0], widths[0])
    return window_of(values)
