"""The other kind of model input: one projection radiograph, upright and as displayed, and how it lies in its film."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from wetread.records.study import InstanceRef, SeriesRef

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Turn:
    """How a film was turned to hang upright: transposed first, then its rows and columns reversed.

    Together the eight ways in which a picture can lie on a pixel grid.
    """

    transpose: bool = False
    reverse_rows: bool = False
    """The film's rows (after transposing) run foot to head."""
    reverse_columns: bool = False

    def hang(self, stored: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
        """From the film's stored pixel matrix to the upright picture, ``(row, column)`` both."""
        turned = stored.T if self.transpose else stored
        return np.ascontiguousarray(self._reversed(turned))

    def take_down(self, upright: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
        """The way back: what lies on the upright picture, on the film's stored pixel matrix."""
        turned = self._reversed(upright)
        return np.ascontiguousarray(turned.T if self.transpose else turned)

    def stored_index(self, row: float, column: float, *, shape: tuple[int, int]) -> tuple[float, float]:
        """Row and column in the film's stored matrix of a continuous index of the upright picture.

        ``shape``: rows and columns of the upright picture. Pixel centres have whole numbers.
        """
        turned_row = shape[0] - 1 - row if self.reverse_rows else row
        turned_column = shape[1] - 1 - column if self.reverse_columns else column
        return (turned_column, turned_row) if self.transpose else (turned_row, turned_column)

    def spacing(self, stored: tuple[float, float]) -> tuple[float, float]:
        """Distances between rows and between columns of the upright picture, from those of the stored matrix."""
        return (stored[1], stored[0]) if self.transpose else stored

    def _reversed(self, array: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
        return array[:: -1 if self.reverse_rows else 1, :: -1 if self.reverse_columns else 1]


@dataclass(frozen=True, slots=True)
class Radiograph:
    """One film (CR or DX image) as a radiologist sees it on the screen.

    Upright by Patient Orientation: rows run head to foot (of a limb: proximal to distal); columns run from the
    patient's right to the left, of a lateral view from front to back. A film that does not give Patient Orientation is
    taken as it is stored.
    """

    array: npt.NDArray[np.float32]
    """``(row, column)``, from 0 (black) to 1 (white), after modality LUT, VOI LUT or window, and presentation LUT:
    bone is bright whatever the Photometric Interpretation. 0 where ``padding`` is true."""
    padding: npt.NDArray[np.bool_]
    """``(row, column)``: no image there (Pixel Padding Value or Range); a shutter's cover is not included."""
    turn: Turn
    """From the film's stored pixel matrix to ``array``; ``turn.take_down`` brings a result back to the film."""
    series: SeriesRef
    instance: InstanceRef
    spacing_mm: tuple[float, float] | None
    """Between rows and between columns of ``array``; None: the film does not say."""
    spacing_from: str = ""
    """``PixelSpacing`` (in the patient) or ``ImagerPixelSpacing`` (at the detector, so magnified); '' for none."""
    patient_orientation: tuple[str, str] = ("", "")
    """Patient Orientation (0020,0020) of ``array``, e.g. ``("L", "F")``: where its rows, then its columns point."""
    view_position: str = ""
    """View Position (0018,5101), e.g. ``AP``; else what View Code Sequence says; '' for unknown."""
    laterality: str = ""
    """``R``, ``L``, ``B`` or ''."""

    @property
    def instances(self) -> tuple[InstanceRef, ...]:
        """The one film, where a volume has its slices."""
        return (self.instance,)

    @property
    def stored_shape(self) -> tuple[int, int]:
        """Rows and columns of the film as it is stored."""
        rows, columns = self.array.shape
        return (columns, rows) if self.turn.transpose else (rows, columns)
