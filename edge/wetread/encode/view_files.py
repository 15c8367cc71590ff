"""What viewers get beside the DICOM objects: label map and heat maps as they are, ready to be drawn over the image."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wetread.bundles.bundle import file_sha256
from wetread.durable import write_atomically
from wetread.encode.context import EncodeContext
from wetread.encode.seg import overlap
from wetread.errors import SpoolUnavailable
from wetread.records.output import Masks, ModelOutput
from wetread.records.result import ResultFile
from wetread.records.volume import LabelMap, Volume

_LEVEL = 1
"""Label maps are mostly runs of one value: more effort saves little."""


def encode_view_files(context: EncodeContext) -> tuple[ResultFile, ...]:
    """Write label map and heat maps into ``context.spec.out_folder``, if viewers are to get them and there are any.

    Structures that overlap cannot be said by one label map: then there is none.
    Raises: ``SpoolUnavailable`` when the disk is full or cannot be written.
    """
    if not context.spec.for_viewers:
        return ()
    labels = _labels(context.reading.output) if isinstance(context.image, Volume) else None
    folder = context.spec.out_folder
    try:
        made = [] if labels is None else [_written(labels, folder / "labels.u8.gz", "labels")]
        for number, heat_map in enumerate(context.heat_maps, start=1):
            heat = np.rint(np.clip(heat_map.array, 0.0, 1.0) * 255).astype(np.uint8)[None]
            made.append(_written(heat, folder / f"heatmap-{number}.u8.gz", "heatmap", heat_map.tracking_uid))
        return tuple(made)
    except OSError as exc:
        raise SpoolUnavailable(f"what viewers get cannot be written to {folder}: {exc.strerror or exc}") from exc


def _labels(output: ModelOutput) -> npt.NDArray[np.uint8] | None:
    """``(slice, row, column)``; values are those of ``Segment.label_value``."""
    if isinstance(output, LabelMap):
        return output.array
    if not isinstance(output, Masks) or overlap(output):
        return None
    merged = np.zeros(output.array.shape[1:], np.uint8)
    for value, mask in enumerate(output.array, start=1):
        merged[mask] = value
    return merged


def _written(values: npt.NDArray[np.uint8], path: Path, kind: str, name: str = "") -> ResultFile:
    def write(part: Path) -> None:
        with part.open("wb") as raw, gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed:
            for plane in values:  # slice by slice: the volume is large enough as it is
                packed.write(np.ascontiguousarray(plane).data)

    write_atomically(path, write)
    return ResultFile(kind, path, file_sha256(path), name)
