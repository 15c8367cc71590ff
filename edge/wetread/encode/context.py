"""What an encoder is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pydicom import Dataset

from wetread.bundles.manifest import Manifest
from wetread.encode.uids import ResultUids
from wetread.records.finding import Segment, Undetected
from wetread.records.heat_map import HeatMap
from wetread.records.job import JobSpec
from wetread.records.model_input import ModelInput
from wetread.records.reading import Reading
from wetread.records.refused import Refused
from wetread.records.result import Rendition
from wetread.records.volume import Volume


@dataclass(frozen=True, slots=True)
class EncodeContext:
    """One finished read and the job it belongs to."""

    spec: JobSpec
    manifest: Manifest
    image: ModelInput | Refused
    """What the results refer to."""
    reading: Reading
    heat_maps: tuple[HeatMap, ...] = ()
    """At most one for each condition."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A read in one rendition, with what all its objects share; used by every encoder."""

    context: EncodeContext
    headers: tuple[Dataset, ...]
    """The source instances without pixel data, in slice order."""
    uids: ResultUids
    rendition: Rendition
    segmentation_class_uid: str
    """SOP class of the SEG, whether there is one or not."""

    @property
    def volume(self) -> Volume:
        """Where segments and boxes lie. Raises: ``TypeError`` for a film or nothing, on which there are none."""
        if not isinstance(self.context.image, Volume):
            raise TypeError("segments and boxes lie in volumes alone")
        return self.context.image

    @property
    def refused(self) -> Refused | None:
        """Why nothing was read; None of a read."""
        return self.context.image if isinstance(self.context.image, Refused) else None

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Structures with at least one voxel. Segment Number is the place in this tuple, from 1, because BINARY
        segmentations number their segments without gaps (PS3.3 C.8.20.2)."""
        return tuple(f for f in self.context.reading.findings if isinstance(f, Segment) and f.voxel_count)

    @property
    def missing(self) -> tuple[Segment | Undetected, ...]:
        """Structures and classes of boxes that were looked for and not found."""
        return tuple(
            f
            for f in self.context.reading.findings
            if isinstance(f, Undetected) or (isinstance(f, Segment) and not f.voxel_count)
        )


class Encoder(Protocol):
    """1. Gives complete data sets of one kind, all in one series, or none if there is nothing of its kind to say.
    2. Takes every UID from ``draft.uids`` and every time from the reading: the same draft gives the same bytes.
    3. Refers to objects of other encoders by UID only and never waits for them.
    """

    def __call__(self, draft: Draft) -> Iterator[Dataset]:
        """The data sets, in Instance Number order."""
        ...
