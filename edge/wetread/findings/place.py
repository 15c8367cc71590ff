"""Where a viewer goes to show a finding."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wetread.records.finding import Detection, Finding, Segment
from wetread.records.model_input import ModelInput
from wetread.records.output import Masks, ModelOutput, mask_on_slice
from wetread.records.result import Place
from wetread.records.volume import LabelMap, Volume


def place_of(finding: Finding, output: ModelOutput, image: ModelInput) -> Place | None:
    """A point of the finding on the slice that shows most of it; None where it has no place or was not found, and on
    films, which lie nowhere in the patient.

    Of a structure: the voxel nearest to the centre of its largest section, so that the point lies inside also where
    the structure is a ring. Of a box: the middle, on the slice the report refers to.
    """
    if not isinstance(image, Volume):
        return None
    if isinstance(finding, Detection):
        middle = (np.array(finding.low) + np.array(finding.high)) / 2
        return _place(image, finding.slice_index, middle[1], middle[2])
    if isinstance(finding, Segment) and finding.voxel_count and isinstance(output, LabelMap | Masks):
        index = _largest_section(output, finding.label_value)
        inside = np.argwhere(mask_on_slice(output, finding.label_value, index))
        row, column = inside[_nearest(inside, inside.mean(axis=0))]
        return _place(image, index, row, column)
    return None


def _largest_section(output: LabelMap | Masks, label_value: int) -> int:
    sizes = [np.count_nonzero(mask_on_slice(output, label_value, k)) for k in range(output.array.shape[-3])]
    return int(np.argmax(sizes))


def _nearest(points: npt.NDArray[np.intp], to: npt.NDArray[np.float64]) -> int:
    return int(np.argmin(((points - to) ** 2).sum(axis=1)))


def _place(volume: Volume, index: int, row: float, column: float) -> Place:
    x, y, z = (float(v) for v in volume.affine[:3, :3] @ np.array([index, row, column]) + volume.affine[:3, 3])
    uid = volume.instances[index].sop_instance_uid if volume.instances else ""
    return Place(uid, index + 1, (x, y, z))
