"""What a read will take in this process: from the program's structure where it has windows, else from earlier reads.

Reads that were done are kept beside the engine's certificate (``reads.json``): the same bundle, engine, library and
machine. They correct the estimate from the structure, and stand in for it where there is none (cascades, detectors,
evaluators of a bundle's own, networks that take the whole image).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, log, prod
from pathlib import Path
from typing import cast

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from wetread.durable import write_atomically
from wetread.errors import WetreadError
from wetread.infer.networks.cascade import CascadeInferer
from wetread.infer.predict import WindowCost, can_predict, kept_or_measured, measure, predict
from wetread.infer.program import Program, Runnable
from wetread.memory import peak_mb, resident_mb
from wetread.records.job import Prediction
from wetread.records.model_input import ModelInput
from wetread.records.numbers import number_of
from wetread.records.radiograph import Radiograph
from wetread.records.volume import Affine

READS = "reads.json"
_KEPT = 20
_MB = 2**20
_VOLUME_BYTES = 6
"""For each source voxel while the volume is held: float32, and the label map or masks that are made of it."""
_ENCODING_BYTES = 6
"""For each source voxel while results are encoded: what highdicom holds of a segmentation beside the volume."""
_CASCADE_BYTES = 48
"""For each source voxel that is more than in the read the prediction comes from: the grids inside stay as they are."""
_S_PER_MEGAVOXEL = 0.08
"""Decoding, findings and encoding, for each million source voxels on one core of 2024, until a read was measured."""
_S_FIXED = 1.5
_FIRST_READ_MB = 160
"""What encoding leaves in memory the first time in a process; measured 85 to 120."""
_MARGIN, _MARGIN_MB = 1.15, 64


@dataclass(frozen=True, slots=True)
class SourceGrid:
    """A volume before it is read."""

    shape: tuple[int, int, int]
    """``(slice, row, column)``; a radiograph is one slice."""
    affine: Affine
    film: bool = False
    """A radiograph: classifiers shrink it to the size of their network before they look at it."""

    @classmethod
    def of(cls, image: ModelInput) -> SourceGrid:
        """The grid of an image that was read."""
        if isinstance(image, Radiograph):
            return cls.of_film(image.array.shape)
        return cls(image.array.shape, image.affine)

    @classmethod
    def of_film(cls, shape: tuple[int, int]) -> SourceGrid:
        """The grid of a radiograph of so many rows and columns, which has no place in the patient."""
        return cls((1, *shape), np.eye(4), film=True)

    @property
    def voxels(self) -> int:
        """How many it has."""
        return prod(self.shape)


class DoneRead(BaseModel):
    """One read on this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voxels: int
    memory_mb: float
    """Peak over what the process held before, without what a process takes for its first read anyway."""
    kept_mb: float
    """What the process held afterwards over what it held before: of a cold read mostly what the engine compiled."""
    cold: bool
    """The engine compiled in it."""
    seconds: float
    estimated_mb: float | None = None
    """What the structure alone said; None where it says nothing."""
    estimated_s: float | None = None
    golden: bool = False
    """The golden case: small, in memory, perhaps with the export of the network."""

    def memory_if(self, *, cold: bool, compiled_mb: float) -> float:
        """What the same read takes with an engine that compiles first, or one that has done so, as an upper bound.

        What a golden case keeps is what was compiled; what a real one keeps may as well be memory that the next one
        cannot use again.
        """
        if cold and not self.cold:
            return self.memory_mb + compiled_mb
        return self.memory_mb - self.kept_mb if self.golden and not cold else self.memory_mb


class _DoneReads(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    reads: tuple[DoneRead, ...]


@dataclass(slots=True)
class Forecast:
    """Predicts for one open model; not for several threads at once."""

    program: Runnable
    folder: Path
    """Of the engine's certificate."""
    channels: int = 1
    """Of the network's input."""
    cold: bool = True
    """The engine has not answered yet in this process: it will compile."""
    first: bool = True
    """No read was done yet in this process."""
    _cost: WindowCost | None = field(default=None, init=False)
    _windows: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._windows = can_predict(self.program)

    def prepare(self) -> None:
        """Learn what one window costs, once on each machine; some seconds then, nothing afterwards."""
        if self._cost is not None or not self._windows:
            return
        try:
            self._cost = kept_or_measured(self.folder, self._measured)
        except (WetreadError, RuntimeError, ValueError):
            # The network does not take the input its metadata promise; whether the read fails too is the read's to say.
            self._windows = False

    def of(self, grids: Sequence[SourceGrid]) -> Prediction | None:
        """What a read of these volumes (in the manifest's order) will take; None: nothing is known yet."""
        voxels = sum(grid.voxels for grid in grids)
        reads = self.done_reads()
        estimate = self._estimate(grids)
        if estimate is None:
            fixed = _has_fixed_grids(self.program) or all(grid.film for grid in grids)
            found = _from_reads(reads, voxels, cold=self.cold, fixed=fixed)
            if found is None:
                return None
            memory_mb, seconds, basis = found
        else:
            memory_mb, seconds, basis = _corrected(estimate, reads)
        memory_mb = memory_mb * _MARGIN + _MARGIN_MB + (_FIRST_READ_MB if self.first else 0)
        return Prediction(ceil(resident_mb() + memory_mb), round(seconds, 1), basis)

    def note(self, grids: Sequence[SourceGrid], *, before_mb: float, seconds: float, golden: bool = False) -> None:
        """Keep what a read took that has just ended; ``before_mb`` is what ``restart_peak`` gave before it."""
        estimate = None if golden else self._estimate(grids)
        kept_mb = max(0.0, resident_mb() - before_mb)
        anyway_mb = min(kept_mb, _FIRST_READ_MB) if self.first and not golden else 0.0
        done = DoneRead(
            voxels=sum(grid.voxels for grid in grids),
            memory_mb=round(max(0.0, peak_mb() - before_mb - anyway_mb), 1),
            kept_mb=round(kept_mb - anyway_mb, 1),
            cold=self.cold,
            seconds=round(seconds, 3),
            estimated_mb=None if estimate is None else round(estimate.memory_mb, 1),
            estimated_s=None if estimate is None else round(estimate.seconds, 3),
            golden=golden,
        )
        kept = _DoneReads(reads=(*self.done_reads(), done)[-_KEPT:])
        write_atomically(self.folder / READS, lambda target: target.write_text(kept.model_dump_json(indent=2) + "\n"))
        self.cold = False
        self.first = self.first and golden

    def done_reads(self) -> tuple[DoneRead, ...]:
        """The latest reads on this machine; those of a file that cannot be read count as not done."""
        try:
            return _DoneReads.model_validate_json((self.folder / READS).read_bytes()).reads
        except (OSError, ValidationError):
            return ()

    def _measured(self) -> WindowCost:
        cost = measure(cast(Program, self.program), self.channels)
        self.cold = False
        return cost

    def _estimate(self, grids: Sequence[SourceGrid]) -> _Whole | None:
        self.prepare()
        if self._cost is None:
            return None
        first, voxels = grids[0], sum(grid.voxels for grid in grids)
        program = cast(Program, self.program)
        try:
            inside = predict(program, first.shape, first.affine, self._cost, channels=self.channels)
        except WetreadError:  # preprocessing whose shapes depend on the voxels
            return None
        reading_mb = _VOLUME_BYTES * voxels / _MB
        memory_mb = reading_mb + max(inside.memory_mb, _ENCODING_BYTES * voxels / _MB)
        seconds = inside.seconds + _S_FIXED + voxels / 1e6 * _S_PER_MEGAVOXEL
        if self.cold:
            memory_mb, seconds = memory_mb + self._cost.opening_mb, seconds + self._cost.opening_s
        return _Whole(memory_mb, seconds, inside.windows)


@dataclass(frozen=True, slots=True)
class _Whole:
    """From the first header to the last result, on top of what the process holds before."""

    memory_mb: float
    seconds: float
    windows: int


def _corrected(estimate: _Whole, reads: Sequence[DoneRead]) -> tuple[float, float, str]:
    """The estimate, with the experience of this machine: memory never lower than the structure says."""
    known = [r for r in reads if r.estimated_mb and r.estimated_s]
    memory = max([1.0, *(r.memory_mb / r.estimated_mb for r in known if r.estimated_mb)])
    slower = statistics.median(r.seconds / r.estimated_s for r in known if r.estimated_s) if known else 1.0
    return (
        estimate.memory_mb * memory,
        estimate.seconds * slower,
        _basis(f"{number_of(estimate.windows, 'window')}", len(known)),
    )


def _from_reads(reads: Sequence[DoneRead], voxels: int, *, cold: bool, fixed: bool) -> tuple[float, float, str] | None:
    """From the read that was nearest in size; with ``fixed`` inner grids only the source grid makes a difference."""
    real = [r for r in reads if not r.golden] or list(reads)
    if not real:
        return None
    # Of reads of one size the latest: the first may have exported the network.
    nearest = min(reversed(real), key=lambda r: (abs(log(voxels / r.voxels)), r.cold != cold))
    memory_mb = nearest.memory_if(cold=cold, compiled_mb=_compiled_mb(reads))
    basis = _basis("the golden case" if nearest.golden else "", 0 if nearest.golden else len(real))
    more = max(0, voxels - nearest.voxels)
    if fixed:
        seconds = nearest.seconds + more / 1e6 * _S_PER_MEGAVOXEL + (_S_FIXED if nearest.golden else 0)
        return memory_mb + _CASCADE_BYTES * more / _MB, seconds, basis
    growth = voxels / nearest.voxels
    return memory_mb * max(1.0, growth), nearest.seconds * max(0.5, growth), basis


def _compiled_mb(reads: Sequence[DoneRead]) -> float:
    """What an engine keeps once it is compiled, at most; a golden case may have made more than a read does."""
    cold = [r for r in reads if r.cold]
    return max((r.kept_mb for r in [r for r in cold if not r.golden] or cold), default=0.0)


def _basis(first: str, reads: int) -> str:
    done = f"{reads} {'read' if reads == 1 else 'reads'} on this machine" if reads else ""
    return "; ".join(part for part in (first, done) if part)


def _has_fixed_grids(program: Runnable) -> bool:
    return isinstance(program, Program) and isinstance(program.inferer, CascadeInferer)
