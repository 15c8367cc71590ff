"""What the panel asks of a viewer. One viewer, one module in ``hosts``; nobody else knows it.

Standard library only, like ``client``: 3D Slicer gets a copy of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Point = tuple[float, float, float]
"""LPS mm."""
Affine = tuple[tuple[float, ...], ...]
"""4×4, row by row: voxel-centre indices ``(slice, row, column, 1)`` to LPS mm."""


class Capability(StrEnum):
    """What a viewer can do; the panel greys out what rests on a missing one, and says why."""

    OVERLAY = "overlay"
    CONTOUR = "contour"
    """Draw the outline of structures instead of filling them."""
    HEATMAP = "heatmap"
    MARKS = "marks"
    GOTO = "goto"
    WINDOW = "window"
    SNAPSHOT = "snapshot"
    OPEN_STUDY = "open_study"
    """Fetch a study from the edge and show it."""


@dataclass(frozen=True, slots=True)
class SeriesHandle:
    """One series that the viewer shows. Empty strings where the viewer does not know."""

    key: str
    """How the viewer calls it; unique among what is open."""
    study_instance_uid: str
    series_instance_uid: str
    modality: str = ""
    description: str = ""
    frame_of_reference_uid: str = ""
    patient_id: str = ""
    patient_name: str = ""
    """DICOM PN."""
    birth_date: str = ""
    """DICOM DA."""
    sex: str = ""
    accession_number: str = ""


@dataclass(frozen=True, slots=True)
class LabelVolume:
    """One byte for each voxel, on the grid of the images the bundle read: labels, or a heat map."""

    values: bytes
    """uint8, C order. Of labels: the label value; 0 is background. Of a heat map: 0 (nothing) to 255."""
    shape: tuple[int, int, int]
    """``(slices, rows, columns)``; one slice for a radiograph."""
    affine: Affine
    """Empty for a radiograph."""
    frame_of_reference_uid: str
    """Empty for a radiograph."""
    sop_instance_uids: tuple[str, ...] = ()
    """The image of each slice, in the order of the first axis."""

    def __post_init__(self) -> None:
        """Raises: ``ValueError`` when there are more or fewer bytes than voxels."""
        slices, rows, columns = self.shape
        if len(self.values) != slices * rows * columns:
            raise ValueError(f"{len(self.values)} bytes for a grid of {slices}×{rows}×{columns}")

    def array(self) -> NDArray[np.uint8]:
        """The same without a copy, read-only, axes ``(slice, row, column)``. Needs NumPy."""
        import numpy

        return numpy.frombuffer(self.values, dtype=numpy.uint8).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One class of a label volume."""

    label_value: int
    name: str
    colour_rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Legend:
    """What the values of a label volume mean; values that are not in it are drawn by nobody."""

    entries: tuple[LegendEntry, ...]

    def colours(self) -> dict[int, tuple[int, int, int]]:
        """The colour of each label value."""
        return {e.label_value: e.colour_rgb for e in self.entries}

    def names(self) -> dict[int, str]:
        """The name of each label value, with its number in list and legend: colour alone tells nobody which it is."""
        return {e.label_value: e.name for e in self.entries}


@dataclass(frozen=True, slots=True)
class OverlayLook:
    """How an overlay is drawn."""

    visible: bool = True
    opacity: float = 0.4
    """0 (not to be seen) to 1."""
    hidden: frozenset[int] = frozenset()
    """Label values that are not drawn."""
    contour: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is. Volumes have a point in space; a radiograph has only the image."""

    sop_instance_uid: str
    slice_number: int
    """From 1, along the slice normal."""
    centre_mm: Point | None = None
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A box round a finding."""

    tracking_uid: str
    name: str
    colour_rgb: tuple[int, int, int]
    place: Place
    corners: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Lowest and highest index ``(slice, row, column)``; a box of one voxel reaches half an index to each side."""


@dataclass(frozen=True, slots=True)
class StudyShown:
    """The viewer now shows this series; ``None``: nothing is open any more."""

    series: SeriesHandle | None


@dataclass(frozen=True, slots=True)
class LabelPicked:
    """The reader pointed at a structure of an overlay."""

    overlay: str
    label_value: int


@dataclass(frozen=True, slots=True)
class ViewerClosing:
    """The viewer is about to end; what is not written now is lost."""


HostEvent = StudyShown | LabelPicked | ViewerClosing


class ViewerHost(Protocol):
    """A viewer with one or more series open.

    1. Every method but ``run_on_gui`` is called on the thread of the viewer's GUI and returns at once (< 100 ms), or
       the panel freezes.
    2. Nothing here changes pixels: what a bundle reads are the original instances (``source_instances``).
    3. Geometry is LPS mm, whatever the viewer's own world is. An overlay lies where its affine says, not where the
       pixels of the series happen to be drawn; what a viewer cannot place it refuses with ``CannotShow``.
    4. Ids that ``add_…`` returned are valid until ``remove``, or until the series is closed; then they are ignored.
    5. A missing capability: the method is never called.
    """

    @property
    def name(self) -> str:
        """What people call this viewer, e.g. ``napari``."""
        ...

    def capabilities(self) -> frozenset[Capability]:
        """What this viewer can do; the same all its life."""
        ...

    def open_series(self) -> tuple[SeriesHandle, ...]:
        """All that are open."""
        ...

    def active_series(self) -> SeriesHandle | None:
        """The one the reader looks at."""
        ...

    def source_instances(self, study_instance_uid: str) -> tuple[Path, ...]:
        """The DICOM files of a study as they were opened; none when the viewer has it from the edge."""
        ...

    def open_study(self, study_instance_uid: str) -> None:
        """Begin to fetch a study from the edge and show it; ``StudyShown`` follows."""
        ...

    def add_overlay(self, series: SeriesHandle, labels: LabelVolume, legend: Legend) -> str:
        """Draw a label volume over a series, in one layer for all classes. Returns: its id.

        Raises: ``CannotShow``.
        """
        ...

    def update_overlay(self, overlay: str, look: OverlayLook) -> None:
        """Change how an overlay or a heat map is drawn."""
        ...

    def add_heatmap(self, series: SeriesHandle, heat: LabelVolume, title: str) -> str:
        """Draw a heat map over a series. Returns: its id. Raises: ``CannotShow``."""
        ...

    def add_marks(self, series: SeriesHandle, marks: Sequence[Mark]) -> str:
        """Draw boxes with their names. Returns: the id of all of them. Raises: ``CannotShow``."""
        ...

    def remove(self, item: str) -> None:
        """Take away an overlay, a heat map or marks."""
        ...

    def goto(self, place: Place) -> None:
        """Show this place in the middle of every view. Raises: ``CannotShow`` when nothing open lies there."""
        ...

    def set_window(self, center: float, width: float) -> None:
        """Window Center and Window Width (PS3.3 C.11.2.1.2) of the active series."""
        ...

    def snapshot(self) -> bytes:
        """What the reader sees, as PNG."""
        ...

    def on(self, listener: Callable[[HostEvent], None]) -> Callable[[], None]:
        """Be told of events, on the GUI thread. Returns: how to be told no more."""
        ...

    def run_on_gui(self, call: Callable[[], None]) -> None:
        """Have this called on the GUI thread, soon and in order. May be called from any thread."""
        ...


class CannotShow(Exception):
    """The viewer cannot place this truly; the message is a sentence for the reader."""
