"""Is it the same picture in another encoding? Decodes both files: for a process of its own, under a memory limit."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from pydicom.pixels import pixel_array

from wetread.dimse.dataset import read_dataset

_NICE = 5


def same_picture(one: Path, other: Path) -> bool:
    """Whether both decode to the same values, bit for bit: a lossy compression is another picture.

    Raises: what pydicom and its plugins raise for pixels that cannot be decoded.
    """
    ours, theirs = (pixel_array(read_dataset(path)) for path in (one, other))
    return ours.shape == theirs.shape and ours.dtype.kind == theirs.dtype.kind and bool(np.array_equal(ours, theirs))


def compare_all(connection: Connection, pairs: Sequence[tuple[Path, Path]], memory_mb: int) -> None:
    """Main function of the process: one answer for each pair, in order; an empty text means the same picture."""
    os.nice(_NICE)
    limit = memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for one, other in pairs:
        try:
            problem = "" if same_picture(one, other) else "other pixels"
        except Exception as exc:  # told: the study is held with it
            problem = f"pixels that cannot be compared ({type(exc).__name__})"
        connection.send(problem)
